package report

import (
	"encoding/json"
	"time"
)

// Entry prints one entry of the ledger on a line or two.
func (p Printer) Entry(index int64, at time.Time, kind, actor, about string, data json.RawMessage) {
	p.printf("%6d  %s  %s  %s  %s\n", index, at.UTC().Format("2006-01-02 15:04:05Z"), p.bold(kind), Clean(about), p.dim(Clean(actor)))
	if len(data) > 0 {
		p.wrap(8, Clean(string(data)))
	}
}
