package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"casco/internal/ocicall"
)

// parseQuestion reads what a wrapper asks. Its errors are read by programs.
func parseQuestion(line []byte) (ocicall.Question, error) {
	var q ocicall.Question
	if err := json.Unmarshal(line, &q); err != nil {
		return q, err
	}
	switch {
	case !(ocicall.Call{Verb: q.Verb}).Held():
		return q, fmt.Errorf("verb %q", q.Verb)
	case !ocicall.ValidID(q.ID):
		return q, fmt.Errorf("container ID %q", q.ID)
	case q.TimeoutMS <= 0:
		return q, fmt.Errorf("timeout_ms %d", q.TimeoutMS)
	case q.Root != "" && !filepath.IsAbs(q.Root), q.Bundle != "" && !filepath.IsAbs(q.Bundle):
		return q, errors.New("root and bundle must be absolute paths")
	}
	return q, nil
}
