package auditrules

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// Offsets in struct audit_rule_data, in 32-bit words: linux/audit.h. The
// strings of the fields follow it without ends, in the fields' order; the
// field's value is its string's length.
const (
	atList   = 0 // AUDIT_FILTER_*
	atAction = 1 // AUDIT_NEVER, AUDIT_ALWAYS
	atCount  = 2
	atMask   = 3 // one bit for each system call
	atFields = atMask + unix.AUDIT_BITMASK_SIZE
	atValues = atFields + unix.AUDIT_MAX_FIELDS
	atOps    = atValues + unix.AUDIT_MAX_FIELDS
	atBuflen = atOps + unix.AUDIT_MAX_FIELDS
	fixed    = 4 * (atBuflen + 1) // bytes before the strings
)

// archIs64 is the bit of an AUDIT_ARCH_* value that says 64: linux/audit.h.
const archIs64 = 0x80000000

var errShort = lang.Errorf(lang.Text{
	En: "the kernel sent an audit rule that is too short",
	Es: "el núcleo envió una regla de auditoría demasiado corta",
})

// decode reads a rule as the kernel sends it. ok is false for a rule that says
// nothing of a path.
func decode(b []byte) (r Rule, ok bool, err error) {
	if len(b) < fixed {
		return r, false, errShort
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }
	n := int(word(atCount))
	if n > unix.AUDIT_MAX_FIELDS {
		return r, false, errShort
	}
	list, action := word(atList), word(atAction)
	if list != unix.AUDIT_FILTER_EXIT && list != unix.AUDIT_FILTER_TASK || action != unix.AUDIT_ALWAYS && action != unix.AUDIT_NEVER {
		return r, false, nil
	}
	r = Rule{Perm: all, Arch: Both, Exact: true, Never: action == unix.AUDIT_NEVER, Task: list == unix.AUDIT_FILTER_TASK}
	text := b[fixed:]
	for i := range n {
		field, value, op := word(atFields+i), word(atValues+i), word(atOps+i)
		if field == unix.AUDIT_WATCH || field == unix.AUDIT_DIR || field == unix.AUDIT_FILTERKEY || hasText(field) {
			if uint64(value) > uint64(len(text)) {
				return r, false, errShort
			}
			r.take(field, string(text[:value]))
			text = text[value:]
		}
		switch {
		case op != unix.AUDIT_EQUAL:
			r.Exact = false
		case field == unix.AUDIT_PERM:
			r.Perm = Perm(value)
		case field == unix.AUDIT_ARCH && value&archIs64 != 0:
			r.Arch = Native
		case field == unix.AUDIT_ARCH:
			r.Arch = Compat
		case field != unix.AUDIT_WATCH && field != unix.AUDIT_DIR && field != unix.AUDIT_FILTERKEY:
			r.Exact = false
		}
	}
	if !r.Task && !everyCall(word) {
		r.Exact = false
	}
	return r, r.Path != "" || r.Task, nil
}

func (r *Rule) take(field uint32, text string) {
	switch field {
	case unix.AUDIT_WATCH:
		r.Path = text
	case unix.AUDIT_DIR:
		r.Path, r.Dir = text, true
	case unix.AUDIT_FILTERKEY:
		r.Key = text
	}
}

// hasText reports whether a field beside path, dir and key has a string:
// kernel/auditfilter.c, audit_data_to_entry.
func hasText(field uint32) bool {
	return field >= unix.AUDIT_SUBJ_USER && field <= unix.AUDIT_SUBJ_CLR ||
		field >= unix.AUDIT_OBJ_USER && field <= unix.AUDIT_OBJ_LEV_HIGH || field == unix.AUDIT_EXE
}

// everyCall reports whether all bits of the mask are set. The last word is not
// looked at: its upper half stands for classes of calls, and the kernel clears
// it (kernel/auditfilter.c, audit_to_entry_common).
func everyCall(word func(int) uint32) bool {
	for i := range unix.AUDIT_BITMASK_SIZE - 1 {
		if word(atMask+i) != ^uint32(0) {
			return false
		}
	}
	return true
}

// encode writes an exact rule of the list exit as auditctl -w does, field by
// field: the kernel deletes only what is the same in every word.
func (r Rule) encode() []byte {
	b := make([]byte, fixed, fixed+len(r.Path)+len(r.Key))
	put := func(i int, v uint32) { binary.NativeEndian.PutUint32(b[4*i:], v) }
	put(atList, unix.AUDIT_FILTER_EXIT)
	put(atAction, unix.AUDIT_ALWAYS)
	for i := range unix.AUDIT_BITMASK_SIZE {
		put(atMask+i, ^uint32(0))
	}
	n := 0
	add := func(field, value uint32) {
		put(atFields+n, field)
		put(atValues+n, value)
		put(atOps+n, unix.AUDIT_EQUAL)
		n++
	}
	if r.Dir {
		add(unix.AUDIT_DIR, uint32(len(r.Path)))
	} else {
		add(unix.AUDIT_WATCH, uint32(len(r.Path)))
	}
	add(unix.AUDIT_PERM, uint32(r.Perm))
	if r.Key != "" {
		add(unix.AUDIT_FILTERKEY, uint32(len(r.Key)))
	}
	put(atCount, uint32(n))
	put(atBuflen, uint32(len(r.Path)+len(r.Key)))
	return slices.Concat(b, []byte(r.Path), []byte(r.Key))
}
