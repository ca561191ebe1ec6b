package resolver

import "net/netip"

// A class is what kind of place an address is in.
type class uint8

const (
	public  class = iota
	private       // allowed by Rule.Private
	never         // allowed by nothing
)

// special are the ranges that a name on the Internet has no business in: IANA's
// registries of special-purpose addresses, RFC 6890, without those for
// documentation, which lead nowhere. Of several that fit the strictest holds.
var special = []struct {
	prefix netip.Prefix
	class  class
}{
	{netip.MustParsePrefix("0.0.0.0/8"), never},       // RFC 1122: this host
	{netip.MustParsePrefix("127.0.0.0/8"), never},     // RFC 1122: loopback
	{netip.MustParsePrefix("169.254.0.0/16"), never},  // RFC 3927: link-local, the clouds' metadata
	{netip.MustParsePrefix("224.0.0.0/4"), never},     // RFC 5771: multicast
	{netip.MustParsePrefix("240.0.0.0/4"), never},     // RFC 1112: reserved; 255.255.255.255
	{netip.MustParsePrefix("10.0.0.0/8"), private},    // RFC 1918
	{netip.MustParsePrefix("172.16.0.0/12"), private}, // RFC 1918
	{netip.MustParsePrefix("192.168.0.0/16"), private},
	{netip.MustParsePrefix("100.64.0.0/10"), private},    // RFC 6598: behind a carrier's NAT
	{netip.MustParsePrefix("100.100.100.200/32"), never}, // in it, a cloud's metadata
	{netip.MustParsePrefix("192.0.0.0/24"), private},     // RFC 6890: protocol assignments
	{netip.MustParsePrefix("192.0.0.192/32"), never},     // in it, a cloud's metadata
	{netip.MustParsePrefix("198.18.0.0/15"), private},    // RFC 2544: benchmarks

	{netip.MustParsePrefix("::ffff:0:0/96"), never},     // RFC 4291: IPv4-mapped, which would leave as IPv4
	{netip.MustParsePrefix("::/96"), never},             // RFC 4291: unspecified, loopback, IPv4-compatible
	{netip.MustParsePrefix("64:ff9b:1::/48"), private},  // RFC 8215: NAT64 of the site's own
	{netip.MustParsePrefix("100::/64"), never},          // RFC 6666: discard
	{netip.MustParsePrefix("2001::/32"), never},         // RFC 4380: Teredo
	{netip.MustParsePrefix("fd00:ec2::254/128"), never}, // metadata of a cloud, in a private range
	{netip.MustParsePrefix("fd20:ce::254/128"), never},  // the same of another
	{netip.MustParsePrefix("fc00::/7"), private},        // RFC 4193: unique local
	{netip.MustParsePrefix("fe80::/10"), never},         // RFC 4291: link-local
	{netip.MustParsePrefix("fec0::/10"), private},       // RFC 3879: site-local
	{netip.MustParsePrefix("ff00::/8"), never},          // RFC 4291: multicast
}

// carriers are the ranges that hold an IPv4 address, and where in the 16 bytes.
var carriers = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // RFC 6052: NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // RFC 3056: 6to4
}

// classOf judges an address; local are subnets that are private whatever
// their range.
func classOf(a netip.Addr, local []netip.Prefix) class {
	for _, p := range local {
		if p.Contains(a) {
			return max(private, classOf(a, nil))
		}
	}
	found := public
	for _, s := range special {
		if s.prefix.Contains(a) {
			found = max(found, s.class)
		}
	}
	for _, in := range carriers {
		if in.prefix.Contains(a) {
			b := a.As16()
			found = max(found, classOf(netip.AddrFrom4([4]byte(b[in.at:])), local))
		}
	}
	return found
}
