// Package ledger is the append-only log of everything casco does, kept so that
// a stranger can check it: nothing in it can be changed, moved or left out
// without its being seen.
//
// Each entry is one line of JSON ([Entry]). The entries are the leaves of a
// Merkle tree (RFC 6962), and the host signs the root of the tree with each
// append: that is a checkpoint. On disk the log is what C2SP calls a tiled
// transparency log, so that other people's tools read it too:
//
//	format                     "casco ledger 1": refuse what a newer casco made
//	checkpoint                 the last published signed root      c2sp.org/tlog-checkpoint
//	tile/L/N[.p/W]             hashes of the tree, 256 to a tile   c2sp.org/tlog-tiles
//	tile/entries/N[.p/W]       the entries, 256 to a bundle
//	journal                    entries that are in no full bundle yet, each append with its checkpoint
//	witness/NAME               the last checkpoint that each witness has cosigned
//	lock                       flock(2): one writer at a time, also among processes
//
// Writing:
//
//	key, err := ledger.KeyFile("/var/lib/casco/ledger.key", ledger.Origin(host))
//	log, err := ledger.Open(dir, key, time.Now)
//	first, err := log.Append(entries...)    durable and signed when it returns
//	cp, err := log.Publish()                writes checkpoint and partial tiles; so does Close
//	err = log.Close()
//
// Reading, for which the key is not needed, only its public half:
//
//	view, err := ledger.Read(dir, verifier)      or log.View()
//	view.Size(); view.Checkpoint(); view.Entry(i); view.Entries(from, to)
//	view.Inclusion(i); view.Consistency(old, new); view.Proof(i)
//
// Checking and handing on:
//
//	report, err := ledger.Verify(ctx, dir, ledger.Trust{…})    names the bad entry, the bad tile, the missing tail
//	log.Witnessed(cosigned, witness)                           keep what a witness gave back
//	witness.Add(request)                                       be a witness of another log
//	manifest, err := log.Export(from, to, into, …)             a folder that casco-verify checks offline
//	ledger.NewEvidence(dir, log)                               big things by SHA-256, with retention and legal hold
//
// # What it proves, and what it cannot
//
// A changed, swapped, inserted or removed entry breaks the root, and only who
// holds the host's key can sign another. Who does hold it (root on the host, if
// the key lives there) can cut off the tail or write another history and sign
// that: by itself it verifies. Only somebody outside who holds an older
// checkpoint sees it, so witnesses are part of the feature and not an ornament;
// [Verify] takes their checkpoints. The copies under witness/ are a convenience:
// who can change the log can delete them.
//
// Root on the host can also stop what would be logged from now on. That is no
// forgery and no mathematics finds it: it shows as silence, which [Verify]
// reports when it lasts longer than expected. And a log shows what was written
// to it, not that it was true.
//
// Callers keep secrets out: what is written here cannot be taken out again.
package ledger
