package docker

import (
	"encoding/json"

	"casco/lang"
)

// Parked returns the IDs of the containers that the undo of a re-creation
// keeps, for Options.Parked.
func Parked(undo json.RawMessage) ([]string, error) {
	var u recreateUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return nil, lang.Errorf(lang.Text{En: "undo of a re-creation: %w", Es: "deshacer una recreación: %w"}, err)
	}
	var ids []string
	for _, m := range u.Members {
		ids = append(ids, m.ID)
	}
	return ids, nil
}
