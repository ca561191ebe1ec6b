package guard

import (
	"testing"

	"casco/internal/outside"
)

func TestMain(m *testing.M) { outside.Main(m, "../..") }
