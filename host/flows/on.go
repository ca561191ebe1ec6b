package flows

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"casco/internal/conntrack"
)

// Numbers of linux/netfilter/nfnetlink.h and nf_tables.h.
const (
	subsystemNFT = 10
	batchBegin   = 0x10
	batchEnd     = 0x11

	nftNewTable = subsystemNFT << 8 // NFT_MSG_NEWTABLE, 0
	nftDelTable = subsystemNFT<<8 | 2
	nftNewChain = subsystemNFT<<8 | 3
	nftNewRule  = subsystemNFT<<8 | 6

	familyInet = 1 // NFPROTO_INET: IPv4 and IPv6
	tableOwner = 2 // NFT_TABLE_F_OWNER, kernel 5.12: it is gone with its socket, and nobody else can change it
)

// A want makes the kernel track the connections of a namespace for as long as
// it is there.
//
// In a namespace where no rule asks for the state of a connection, the kernel
// tracks none: so it is in a container on the default bridge, while one on a
// network of its own has the rules for its resolver. The want is a table with
// a chain that no packet comes through: that a rule in it could ask is enough
// (nft_ct_get_init, nf_ct_netns_get).
type want struct {
	table string
	owned bool // it needs no end
}

// wantTracking makes one for the namespace of the socket.
func wantTracking(fd int) (want, error) {
	w := want{owned: true}
	// A socket's number is unique among those of its namespace.
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return w, err
	}
	w.table = "casco_flows_" + strconv.FormatUint(uint64(sa.(*unix.SockaddrNetlink).Pid), 10)
	err = w.make(fd, tableOwner)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) { // before 5.12
		w.owned = false
		err = w.make(fd, 0)
	}
	if err != nil {
		return w, fmt.Errorf("turn connection tracking on: nftables: %w", err)
	}
	return w, nil
}

func (w want) make(fd int, flags uint32) error {
	const create = unix.NLM_F_CREATE | unix.NLM_F_ACK
	const chain = "chain_of_nothing"
	ct := nested(1, // NFTA_LIST_ELEM
		attr(1, text("ct")), // NFTA_EXPR_NAME
		nested(2, // NFTA_EXPR_DATA
			attr(1, word(1)), // NFTA_CT_DREG: NFT_REG_1
			attr(2, word(0)), // NFTA_CT_KEY: NFT_CT_STATE
		))
	return batch(fd,
		newRequest(nftNewTable, create|unix.NLM_F_EXCL, familyInet, 0).
			with(1, text(w.table)). // NFTA_TABLE_NAME
			with(2, word(flags)),   // NFTA_TABLE_FLAGS
		newRequest(nftNewChain, create, familyInet, 0).
			with(1, text(w.table)). // NFTA_CHAIN_TABLE
			with(3, text(chain)),   // NFTA_CHAIN_NAME
		newRequest(nftNewRule, create|unix.NLM_F_APPEND, familyInet, 0).
			with(1, text(w.table)).        // NFTA_RULE_TABLE
			with(2, text(chain)).          // NFTA_RULE_CHAIN
			with(4|unix.NLA_F_NESTED, ct), // NFTA_RULE_EXPRESSIONS
	)
}

// batch has all of the requests done, or none.
func batch(fd int, rs ...request) error {
	all := []request{newRequest(batchBegin, 0, unix.AF_UNSPEC, subsystemNFT)}
	all = append(all, rs...)
	all = append(all, newRequest(batchEnd, 0, unix.AF_UNSPEC, subsystemNFT))
	if err := send(fd, all...); err != nil {
		return err
	}
	return acknowledged(fd, len(rs))
}

// end takes the want back, in the thread's namespace.
func (w want) end() error {
	if w.owned || w.table == "" {
		return nil
	}
	fd, err := dial()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return batch(fd, newRequest(nftDelTable, unix.NLM_F_ACK, familyInet, 0).with(1, text(w.table)))
}

// A setting is one of the connection tracking of a namespace.
type setting struct{ name, was string }

// The settings that flows needs, and what each has to be.
var needed = []struct{ name, when, to string }{
	{"nf_conntrack_acct", "0", "1"},   // count packets and bytes
	{"nf_conntrack_events", "0", "1"}, // 2, since kernel 5.19, is "if somebody listens"
}

// set changes the settings of a namespace that need it, and returns what they
// were.
func set(settings *os.Root) (before []setting, err error) {
	for _, n := range needed {
		b, err := settings.ReadFile(n.name)
		was := strings.TrimSpace(string(b))
		if err == nil && was == n.when {
			err = settings.WriteFile(n.name, []byte(n.to), 0)
			before = append(before, setting{n.name, was})
		}
		if err != nil {
			return before, err
		}
	}
	return before, nil
}

// reset takes them back, in the thread's namespace.
func reset(before []setting) error {
	if len(before) == 0 {
		return nil
	}
	settings, err := conntrack.Open()
	if err != nil {
		return err
	}
	defer settings.Close()
	var errs []error
	for _, s := range before {
		errs = append(errs, settings.WriteFile(s.name, []byte(s.was), 0))
	}
	return errors.Join(errs...)
}
