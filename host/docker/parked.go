package docker

import (
	"encoding/json"
	"fmt"
)

// Parked returns the IDs of the containers that the undo of a re-creation
// keeps, for Options.Parked.
func Parked(undo json.RawMessage) ([]string, error) {
	var u recreateUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return nil, fmt.Errorf("undo of a re-creation: %w", err)
	}
	var ids []string
	for _, m := range u.Members {
		ids = append(ids, m.ID)
	}
	return ids, nil
}
