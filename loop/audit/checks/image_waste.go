package checks

import (
	"fmt"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// wasteMost is how much of an image may be of no use, in bytes. It is our
// choice: less is not worth a layer.
const wasteMost = 10 << 20

var imageWaste = &audit.Check{
	ID:    "image-waste",
	Title: lang.Text{En: "Image carries what no container of it can use", Es: "La imagen lleva lo que ningún contenedor suyo puede usar"},
	Why: lang.Text{
		En: "Caches of package managers, and files that a later layer deletes or replaces, go out with it: they take room and time at each pull, and can be read by whoever pulls.",
		Es: "Las cachés de gestores de paquetes y los archivos que una capa posterior borra o reemplaza salen con ella: ocupan sitio y tiempo en cada descarga, y los lee quien la descargue.",
	},
	Remedy: lang.Text{
		En: "Clean up in the RUN that made it (rm -rf /var/lib/apt/lists/*, --no-cache), use RUN --mount=type=cache, or copy the result from a build stage.",
		Es: "Limpie en el mismo RUN que lo creó (rm -rf /var/lib/apt/lists/*, --no-cache), use RUN --mount=type=cache o copie el resultado desde una etapa de construcción.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowImages,
	Kind:     inventory.Image,
	Eval:     evalImageWaste,
}

func evalImageWaste(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	caches, fact, ok := inventory.ImageCaches.Of(o)
	sheets, layers, okLayers := inventory.ImageSheets.Of(o)
	if !ok || !okLayers {
		return audit.Untold(fact, layers)
	}
	var lines []string
	sum := int64(0)
	for _, c := range caches {
		m := asMap(c)
		if n, ok := asInt(m["Bytes"]); ok {
			sum += n
			lines = append(lines, fmt.Sprintf("%s: %d MB", asString(m["Path"]), n/1e6))
		}
	}
	for i, l := range sheets {
		if n, ok := asInt(asMap(l)["Wasted"]); ok && n > 0 {
			sum += n
			lines = append(lines, fmt.Sprintf("layer %d: %d MB replaced or deleted above it", i+1, n/1e6))
		}
	}
	if sum > wasteMost {
		return audit.Bad(with(fact, lines))
	}
	return audit.Good(with(fact, lines))
}
