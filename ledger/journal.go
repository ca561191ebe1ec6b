package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"casco/lang"
)

// The journal holds the entries that are in no full bundle yet, and is the only
// file that an append writes to. It begins with a line,
//
//	casco-journal 1 BASE
//
// BASE being the index of its first entry, a multiple of 256. Behind it stands
// one frame for each append (or for the appends that were written together):
//
//	bytes 0-3    length of the payload, big-endian like all numbers here
//	bytes 4-7    CRC-32C of bytes 0-3
//	bytes 8-11   CRC-32C of the payload
//	payload      4 bytes: length of the bundle; the bundle (as in tile/entries);
//	             the checkpoint, a signed note, of the log with these entries
//
// The checksums find what a crash or a bad disk did; against people there is
// the signed checkpoint.
const journalHead = "casco-journal 1 "

const frameHead = 12

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func journalHeader(base int64) []byte { return fmt.Appendf(nil, "%s%d\n", journalHead, base) }

func makeFrame(entries [][]byte, signed []byte) []byte {
	bundle := joinBundle(entries)
	f := make([]byte, frameHead, frameHead+4+len(bundle)+len(signed))
	f = binary.BigEndian.AppendUint32(f, uint32(len(bundle)))
	f = append(f, bundle...)
	f = append(f, signed...)
	binary.BigEndian.PutUint32(f, uint32(len(f)-frameHead))
	binary.BigEndian.PutUint32(f[4:], crc32.Checksum(f[:4], crcTable))
	binary.BigEndian.PutUint32(f[8:], crc32.Checksum(f[frameHead:], crcTable))
	return f
}

// A frame is what one write added. Its slices share the memory of the journal.
type frame struct {
	entries [][]byte
	signed  []byte
	end     int // offset behind it
}

// A journal is a parsed journal. Bytes behind the last frame are torn if an
// append that was never acknowledged can have left them; damaged otherwise.
type journal struct {
	base    int64
	frames  []frame
	end     int // offset behind the last good frame
	torn    []byte
	damaged error
}

func parseJournal(b []byte) (journal, error) {
	var j journal
	line, _, ok := bytes.Cut(b, []byte("\n"))
	if _, err := fmt.Sscanf(string(line), journalHead+"%d", &j.base); !ok || err != nil || j.base < 0 || j.base > maxSize || j.base%tileWidth != 0 || !bytes.HasPrefix(b, journalHeader(j.base)) {
		return j, lang.Errorf(lang.Text{En: "its first line is not that of a journal", Es: "su primera línea no es la de un journal"})
	}
	j.end = len(line) + 1
	for j.end < len(b) {
		f, err := parseFrame(b, j.end)
		if err != nil {
			if errors.Is(err, errShort) || zeroTail(b, j.end) {
				j.torn = b[j.end:]
			} else {
				j.damaged = err
			}
			break
		}
		j.frames = append(j.frames, f)
		j.end = f.end
	}
	return j, nil
}

// errShort says that the file ends within a frame that is good so far.
var errShort = errors.New("the file ends within a frame")

func parseFrame(b []byte, at int) (frame, error) {
	h := b[at:]
	if len(h) < frameHead {
		return frame{}, errShort
	}
	n := binary.BigEndian.Uint32(h)
	switch {
	case binary.BigEndian.Uint32(h[4:]) != crc32.Checksum(h[:4], crcTable):
		return frame{}, lang.Errorf(lang.Text{En: "the head of a frame is damaged", Es: "la cabecera de una trama está dañada"})
	case uint64(n) > uint64(len(h)-frameHead):
		return frame{}, errShort
	}
	p := h[frameHead : frameHead+int(n)]
	if binary.BigEndian.Uint32(h[8:]) != crc32.Checksum(p, crcTable) {
		return frame{}, lang.Errorf(lang.Text{En: "a frame is damaged", Es: "una trama está dañada"})
	}
	if len(p) < 4 || uint64(binary.BigEndian.Uint32(p)) > uint64(len(p)-4) {
		return frame{}, lang.Errorf(lang.Text{En: "a frame has no bundle", Es: "una trama no tiene paquete"})
	}
	end := 4 + int(binary.BigEndian.Uint32(p))
	entries, err := splitBundle(p[4:end])
	if err != nil {
		return frame{}, lang.Errorf(lang.Text{En: "the bundle of a frame %s", Es: "el paquete de una trama %s"}, err)
	}
	return frame{entries, p[end:], at + frameHead + int(n)}, nil
}

// zeroTail reports whether what stands behind at ends in nothing but zeros for
// a whole sector of 512 bytes at least, or is all zeros: what a file system
// shows after a power cut when it had made the file longer and not yet written
// to it. A frame ends in the newline of a checkpoint.
func zeroTail(b []byte, at int) bool {
	data := len(bytes.TrimRight(b[at:], "\x00"))
	const sector = 512
	first := (at + data + sector - 1) / sector * sector // begins after all data
	return data == 0 || first+sector <= len(b)
}
