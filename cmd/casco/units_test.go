package main

import "testing"

func TestUnitWords(t *testing.T) {
	got := unitWords([]string{"/opt/my tools/casco", "--state", "/srv/100%/$HOME", `a"b\c`, "run"})
	want := `"/opt/my tools/casco" "--state" "/srv/100%%/$$HOME" "a\"b\\c" "run"`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
