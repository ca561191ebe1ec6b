package plan

import (
	"testing"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// TestForeign tells a plan that casco made from one that somebody changed
// before they signed it.
func TestForeign(t *testing.T) {
	fs := []audit.Finding{
		fail("privileged", web, audit.Want{Ref: web, Field: "HostConfig.Privileged", Value: false}),
		fail("nnp", web, audit.Want{Ref: web, Field: "HostConfig.SecurityOpt", Op: audit.Add, Value: "no-new-privileges:true"}),
		fail("memory", web, audit.Want{Ref: web, Field: "HostConfig.Memory", Ask: question}),
		fail("icc", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false}),
	}
	answers := Options{Answers: map[Key]any{{web, "HostConfig.Memory"}: 64}}
	for _, c := range []struct {
		name string
		edit func(*Plan)
		want int
	}{
		{"as it was made", func(*Plan) {}, -1},
		{"another answer", func(p *Plan) { p.Steps[1].Sets[2].To = 128 }, -1},
		{"another value", func(p *Plan) { p.Steps[1].Sets[0].To = true }, 1},
		{"one more field", func(p *Plan) { p.Steps[1].Sets = append(p.Steps[1].Sets, Set{"HostConfig.PidMode", nil, "host"}) }, 1},
		{"one more in a list", func(p *Plan) {
			p.Steps[1].Sets[1].To = append(p.Steps[1].Sets[1].To.([]any), "label=disable")
		}, 1},
		{"another object", func(p *Plan) { p.Steps[0].Ref = inventory.Ref{Kind: inventory.Daemon, Name: "/other"} }, 0},
		{"another hand", func(p *Plan) { p.Steps[0].Hand = "recreate" }, 0},
		{"a lower price", func(p *Plan) { p.Steps[1].Cost = Live }, 1},
		{"a cure of nothing", func(p *Plan) { p.Steps[0].For = nil }, 0},
		{"what passes already", func(p *Plan) { p.Steps[0].For = []Cure{{"other", eng}} }, 0},
	} {
		p := Make(host(), fs, means, answers)
		if len(p.Steps) != 2 || len(p.Steps[1].Sets) != 3 {
			t.Fatalf("%+v", p.Steps)
		}
		c.edit(p)
		if got := p.Foreign(host(), fs, means); got != c.want {
			t.Errorf("%s: step %d, want %d", c.name, got, c.want)
		}
	}
}
