package network

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An Export is the rules of a host for devices that know nothing of containers:
// a router, a firewall in front, another host's tables. It has addresses as
// they are now, and a device has them until it is given the next.
//
// What it gives restricts and never opens: what it lets pass is still for the
// other rules of the device to judge. Names do not get into rules but as
// comments of letters, digits and three signs.
type Export struct {
	Rows []Row
	// Managed are the container networks: what no row lets pass from them or
	// into them is dropped.
	Managed []netip.Prefix
}

// A RowKind is what a row is about.
type RowKind string

// The kinds of rows.
const (
	RowPair   RowKind = "pair"   // from a container to another
	RowEgress RowKind = "egress" // from a container to a network outside
	RowOpen   RowKind = "open"   // from outside to a container
	RowHost   RowKind = "host"   // from a container to the host, or from it
	RowShut   RowKind = "shut"   // a port of the host that outside must not use
	RowName   RowKind = "name"   // to a host name, which a device does not know
)

// A Row is one thing that passes, or of kind "shut" does not.
type Row struct {
	Kind     RowKind
	From, To string // names of namespaces; "any-internet", "host", or what an egress flow names
	FromTier string
	ToTier   string
	Src, Dst netip.Prefix // the zero Prefix is any address
	Port     Port         // zero: all
	Flow     string       // its ID, or of what is open within a tier "inside:TIER"
	Owner    string
	Review   string
}

// ExportOf makes one of w.
func ExportOf(w World, j *Judge) (Export, error) {
	t, err := newTopology(w, j.policy)
	if err != nil {
		return Export{}, err
	}
	x := Export{Managed: apart(t.rules.Outside.Managed)}
	for _, a := range t.nodes {
		if a.ns == nil {
			continue
		}
		for _, b := range t.nodes {
			if b.ns != nil && b != a {
				x.pairs(t, a.ns, b.ns)
			}
		}
		x.alone(t, a.ns)
	}
	x.shut(t)
	slices.SortStableFunc(x.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), comparePrefix(a.Src, b.Src), comparePrefix(a.Dst, b.Dst), a.Port.compare(b.Port), cmp.Compare(a.Flow, b.Flow))
	})
	x.Rows = slices.Compact(x.Rows)
	return x, nil
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// apart leaves out networks that lie within another.
func apart(ps []netip.Prefix) []netip.Prefix {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	var out []netip.Prefix
	for _, p := range ps {
		if !slices.ContainsFunc(out, p.Overlaps) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, comparePrefix)
	return out
}

// tiersOf are the tiers of the members of n.
func tiersOf(n *placedNS) string {
	var out []string
	for _, m := range n.members {
		out = with(out, m.Tier)
	}
	return strings.Join(out, "+")
}

// add puts in a row for each reason, with who answers for it.
func (x *Export) add(t *topology, r Row, reasons []Reason) {
	for _, reason := range reasons {
		r := r
		if r.Port == (Port{}) {
			r.Port = reason.Port
		}
		r.Flow = "inside:" + r.FromTier
		for i, f := range t.judge.flows {
			if f.path == reason.Path {
				is := t.judge.policy.Flows[i]
				r.Flow, r.Owner, r.Review = is.ID, is.Owner, ""
				if !is.Review.IsZero() {
					r.Review = is.Review.String()
				}
			}
		}
		x.Rows = append(x.Rows, r)
	}
}

func one(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (x *Export) pairs(t *topology, a, b *placedNS) {
	reasons := t.judge.pass(a, b)
	for _, from := range a.addrs {
		for _, to := range b.addrs {
			if from.Is4() == to.Is4() {
				x.add(t, Row{Kind: RowPair, From: a.Name(), To: b.Name(), FromTier: tiersOf(a), ToTier: tiersOf(b), Src: one(from), Dst: one(to)}, reasons)
			}
		}
	}
}

// alone are the rows of one container and what is no container.
func (x *Export) alone(t *topology, n *placedNS) {
	in, name, tier := t.rules.Inside[n.ID], n.Name(), tiersOf(n)
	for _, a := range n.addrs {
		x.add(t, Row{Kind: RowOpen, From: Internet, To: name, ToTier: tier, Dst: one(a)}, t.judge.reasons(n, internet, false))
		x.add(t, Row{Kind: RowHost, From: TheHost, To: name, ToTier: tier, Dst: one(a)}, t.judge.reasons(n, host, false))
		x.add(t, Row{Kind: RowHost, From: name, To: TheHost, FromTier: tier, Src: one(a)}, t.judge.reasons(n, host, true))
		for _, net := range in.Nets {
			if net.Net.Addr().Is4() == a.Is4() {
				x.add(t, Row{Kind: RowEgress, From: name, To: net.Net.String(), FromTier: tier, Src: one(a), Dst: net.Net, Port: net.Port},
					about(t.judge.reasonsOf(n, func(e end) bool { return e.kind == aNetwork && e.net == net.Net }), net.Port))
			}
		}
		for _, to := range in.Names {
			x.add(t, Row{Kind: RowName, From: name, To: to.Name, FromTier: tier, Src: one(a), Port: to.Port},
				about(t.judge.reasonsOf(n, func(e end) bool { return e.kind == aHostName && e.name == to.Name }), to.Port))
		}
	}
	for _, m := range n.Members {
		for _, p := range m.Published {
			for _, h := range t.hostAt(p.Host) {
				x.add(t, Row{Kind: RowOpen, From: Internet, To: name, ToTier: tier, Dst: one(h), Port: Port{p.HostPort, p.Port.Proto}}, about(t.judge.reasons(n, internet, false), p.Port))
			}
		}
	}
}

// hostAt are the host's addresses at which a published port is found from
// outside.
func (t *topology) hostAt(at netip.Addr) []netip.Addr {
	if at.IsLoopback() {
		return nil
	}
	if !at.IsUnspecified() {
		return []netip.Addr{at}
	}
	return slices.DeleteFunc(slices.Clone(t.w.Host), func(h netip.Addr) bool {
		return h.Is4() != at.Is4() || h.IsLinkLocalUnicast() || contains(t.rules.Outside.Managed, h)
	})
}

// shut are published ports that nobody outside may use.
func (x *Export) shut(t *topology) {
	for e := range t.rules.Outside.Elements {
		if e.Set != Shut {
			continue
		}
		for _, h := range t.hostAt(e.A) {
			if !slices.ContainsFunc(x.Rows, func(r Row) bool { return r.Kind == RowOpen && r.Dst == one(h) && r.Port == e.Port }) {
				x.Rows = append(x.Rows, Row{Kind: RowShut, From: Internet, To: TheHost, Dst: one(h), Port: e.Port})
			}
		}
	}
}

// WriteCSV writes the rows for a table: kind, from, to, src, dst, proto, port,
// tiers, flow, owner, review. A text that a spreadsheet would take for a formula
// has an apostrophe in front.
func (x Export) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"kind", "from", "to", "src", "dst", "proto", "port", "tiers", "flow", "owner", "review"}}
	for _, r := range x.Rows {
		proto, port := "any", "any"
		if r.Port != (Port{}) {
			proto, port = r.Port.Proto.String(), strconv.Itoa(int(r.Port.Number))
		}
		rows = append(rows, []string{string(r.Kind), r.From, r.To, anyOr(r.Src), anyOr(r.Dst), proto, port, r.FromTier + ">" + r.ToTier, r.Flow, r.Owner, r.Review})
	}
	for _, row := range rows {
		for i, cell := range row {
			if cell = Printable(cell); cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				cell = "'" + cell
			}
			row[i] = cell
		}
	}
	return out.WriteAll(rows)
}

func anyOr(p netip.Prefix) string {
	if !p.IsValid() {
		return "any"
	}
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// comment is s as it may stand in any file of rules: nothing in it ends a
// comment or a quotation.
func comment(s string) string {
	var b strings.Builder
	for _, c := range s {
		if b.Len() == 60 { // nftables allows 128 bytes, iptables 255
			break
		}
		if c < 128 && (policyWord.MatchString(string(c)) || strings.ContainsRune("-._", c)) {
			b.WriteRune(c)
		} else {
			b.WriteByte('_')
		}
	}
	return b.String()
}

// of are the rows of one kind and family.
func (x Export) of(kind RowKind, six bool) []Row {
	return slices.DeleteFunc(slices.Clone(x.Rows), func(r Row) bool {
		p := r.Dst
		if !p.IsValid() {
			p = r.Src
		}
		return r.Kind != kind || p.Addr().Is6() != six
	})
}

func (x Export) managed(six bool) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(x.Managed), func(p netip.Prefix) bool { return p.Addr().Is6() != six })
}

// NftTable is the table that WriteNft makes. Every chain in it has a prefix, for
// some words are nftables' own.
const NftTable = "casco_export"

// WriteNft writes a table for nft -f, which replaces the one that is there.
func (x Export) WriteNft(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# Made by casco. It drops what the policy does not let pass, and opens nothing.\ntable inet %s\ndelete table inet %s\ntable inet %s {\n", NftTable, NftTable, NftTable)
	for _, six := range []bool{false, true} {
		f, bits := "4", "ipv4_addr"
		if six {
			f, bits = "6", "ipv6_addr"
		}
		var managed, pairs, flows, open, shut []string
		for _, p := range x.managed(six) {
			managed = append(managed, p.String())
		}
		for _, r := range x.of(RowPair, six) {
			if r.Port == (Port{}) {
				pairs = append(pairs, fmt.Sprintf("%s . %s", r.Src.Addr(), r.Dst.Addr()))
				continue
			}
			flows = append(flows, fmt.Sprintf("%s . %s . %s . %d", r.Src.Addr(), r.Dst.Addr(), r.Port.Proto, r.Port.Number))
		}
		for _, r := range x.of(RowOpen, six) {
			open = append(open, fmt.Sprintf("%s . %s . %d", r.Dst.Addr(), r.Port.Proto, r.Port.Number))
		}
		for _, r := range x.of(RowShut, six) {
			shut = append(shut, fmt.Sprintf("%s . %s . %d", r.Dst.Addr(), r.Port.Proto, r.Port.Number))
		}
		nftSet(out, "managed"+f, bits, "flags interval; ", managed)
		nftSet(out, "pairs"+f, bits+" . "+bits, "", pairs)
		nftSet(out, "flows"+f, bits+" . "+bits+" . inet_proto . inet_service", "", flows)
		nftSet(out, "open"+f, bits+" . inet_proto . inet_service", "", open)
		nftSet(out, "shut"+f, bits+" . inet_proto . inet_service", "", shut)
	}
	fmt.Fprint(out, "\tchain casco_forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tct state established,related accept\n")
	for _, six := range []bool{false, true} {
		f, ip := "4", "ip"
		if six {
			f, ip = "6", "ip6"
		}
		fmt.Fprintf(out, "\t\t%[1]s daddr . meta l4proto . th dport @shut%[2]s drop\n", ip, f)
		fmt.Fprintf(out, "\t\t%[1]s saddr . %[1]s daddr @pairs%[2]s accept\n\t\t%[1]s saddr . %[1]s daddr . meta l4proto . th dport @flows%[2]s accept\n", ip, f)
		fmt.Fprintf(out, "\t\t%[1]s saddr @managed%[2]s %[1]s daddr @managed%[2]s drop\n", ip, f)
		for _, r := range x.of(RowEgress, six) {
			fmt.Fprintf(out, "\t\t%s saddr %s %s daddr %s %s dport %d accept comment \"%s\"\n", ip, r.Src.Addr(), ip, r.Dst, r.Port.Proto, r.Port.Number, comment(r.Flow))
		}
		fmt.Fprintf(out, "\t\t%[1]s saddr @managed%[2]s drop\n\t\t%[1]s daddr . meta l4proto . th dport @open%[2]s accept\n\t\t%[1]s daddr @managed%[2]s drop\n", ip, f)
	}
	fmt.Fprint(out, "\t}\n}\n")
	x.unsaid(out)
	return out.Flush()
}

// nftSet writes a set. One without elements must not say that it has none.
func nftSet(w io.Writer, name, kind, flags string, elements []string) {
	slices.Sort(elements)
	elements = slices.Compact(elements)
	fmt.Fprintf(w, "\tset %s { type %s; %s", name, kind, flags)
	if len(elements) > 0 {
		fmt.Fprintf(w, "elements = { %s }; ", strings.Join(elements, ", "))
	}
	fmt.Fprintln(w, "}")
}

// unsaid lists, as comments, what a device cannot be told.
func (x Export) unsaid(w io.Writer) {
	for _, r := range x.Rows {
		switch r.Kind {
		case RowName:
			fmt.Fprintf(w, "# not here, for it is a name: flow %s, %s to %s %s\n", comment(r.Flow), r.Src.Addr(), comment(r.To), r.Port)
		case RowHost:
			fmt.Fprintf(w, "# not here, for it stays on the host: flow %s %s\n", comment(r.Flow), r.Port)
		}
	}
}

// WriteIPTables writes chains for iptables-restore --noflush, or ip6tables-
// restore. Loaded without --noflush it would take the other rules away. What it
// lets pass goes back to the chain that asked.
func (x Export) WriteIPTables(w io.Writer, six bool) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "# Made by casco, to be loaded with --noflush. It drops what the policy does not let pass, and opens nothing.\n")
	fmt.Fprint(out, "*filter\n:CASCO - [0:0]\n:CASCO-OUT - [0:0]\n-I FORWARD 1 -j CASCO\n-A CASCO -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n")
	rule := func(chain string, r Row, then string) {
		fmt.Fprintf(out, "-A %s", chain)
		if r.Src.IsValid() {
			fmt.Fprintf(out, " -s %s", r.Src)
		}
		if r.Dst.IsValid() {
			fmt.Fprintf(out, " -d %s", r.Dst)
		}
		if r.Port != (Port{}) {
			fmt.Fprintf(out, " -p %[1]s -m %[1]s --dport %[2]d", r.Port.Proto, r.Port.Number)
		}
		if r.Flow != "" {
			fmt.Fprintf(out, " -m comment --comment %s", comment(r.Flow))
		}
		fmt.Fprintf(out, " %s\n", then)
	}
	each := func(chain string, kind RowKind, then string) {
		for _, r := range x.of(kind, six) {
			rule(chain, r, then)
		}
	}
	each("CASCO", RowShut, "-j DROP")
	each("CASCO", RowPair, "-j RETURN")
	for _, p := range x.managed(six) {
		rule("CASCO", Row{Src: p}, "-g CASCO-OUT")
		rule("CASCO-OUT", Row{Dst: p}, "-j DROP")
	}
	each("CASCO-OUT", RowEgress, "-j RETURN")
	fmt.Fprint(out, "-A CASCO-OUT -j DROP\n")
	each("CASCO", RowOpen, "-j RETURN")
	for _, p := range x.managed(six) {
		rule("CASCO", Row{Dst: p}, "-j DROP")
	}
	fmt.Fprint(out, "COMMIT\n")
	x.unsaid(out)
	return out.Flush()
}

// WriteCisco writes extended access lists of IOS, one for each family, to be
// bound to the interface that leads to the host. They know no connections but
// those of TCP, and so let answers of UDP in by their ports.
func (x Export) WriteCisco(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, six := range []bool{false, true} {
		ip, name := "ip", "ip access-list extended CASCO-EXPORT"
		if six {
			ip, name = "ipv6", "ipv6 access-list CASCO-EXPORT-6"
		}
		fmt.Fprintf(out, "%s\n permit tcp any any established\n", name)
		line := func(verb string, r Row) {
			proto, port := ip, ""
			if r.Port != (Port{}) {
				proto, port = r.Port.Proto.String(), fmt.Sprintf(" eq %d", r.Port.Number)
			}
			fmt.Fprintf(out, " %s %s %s %s%s\n", verb, proto, ciscoNet(r.Src), ciscoNet(r.Dst), port)
			if verb == "permit" && r.Port != (Port{}) && r.Port.Proto != TCP {
				fmt.Fprintf(out, " %s %s %s%s %s\n", verb, proto, ciscoNet(r.Dst), port, ciscoNet(r.Src))
			}
		}
		each := func(verb string, kind RowKind) {
			for _, r := range x.of(kind, six) {
				if r.Flow != "" {
					fmt.Fprintf(out, " remark %s\n", comment(r.Flow))
				}
				line(verb, r)
			}
		}
		each("deny", RowShut)
		each("permit", RowPair)
		for _, a := range x.managed(six) {
			for _, b := range x.managed(six) {
				line("deny", Row{Src: a, Dst: b})
			}
		}
		each("permit", RowEgress)
		for _, p := range x.managed(six) {
			line("deny", Row{Src: p})
		}
		each("permit", RowOpen)
		for _, p := range x.managed(six) {
			line("deny", Row{Dst: p})
		}
		fmt.Fprintf(out, " permit %s any any\n", ip)
	}
	return out.Flush()
}

// ciscoNet is a network with its wildcard, which of IPv6 has a length instead.
func ciscoNet(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "any"
	case p.IsSingleIP():
		return "host " + p.Addr().String()
	case p.Addr().Is6():
		return p.String()
	}
	var wild [4]byte
	for i := p.Bits(); i < 32; i++ {
		wild[i/8] |= 0x80 >> (i % 8)
	}
	return p.Addr().String() + " " + netip.AddrFrom4(wild).String()
}
