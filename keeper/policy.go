package keeper

import (
	"errors"
	"slices"

	"casco/guard/network"
	"casco/host/resolver"
	"casco/policy"
)

// SetPolicy makes all rules anew by another policy. Starts go on meanwhile, by
// the new one. If some cannot be made that is the error, and they are tried again
// soon; InForce says whether p is gone by.
func (k *Keeper) SetPolicy(p *policy.Policy, enforce bool) error {
	j, err := network.NewJudge(p)
	if err != nil {
		return err
	}
	ids, old, err := k.turn(p, j, enforce)
	if err != nil {
		return err
	}
	if old != nil {
		old.Close()
	}
	var errs []error
	step := func(f func() error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		errs = append(errs, f())
	}
	for _, id := range ids {
		step(func() error { return k.fresh(id, false) })
	}
	step(func() error {
		k.turning = false
		return k.writeHost()
	})
	k.cutAll()
	err = errors.Join(errs...)
	if err != nil {
		k.Wake()
	}
	return err
}

// InForce is the policy that is gone by, and whether it is enforced.
func (k *Keeper) InForce() (p *policy.Policy, enforce bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.policy, k.enforce
}

// turn puts a policy in the place of the one before. It returns the namespaces
// whose rules must be made anew, and the resolver to end, if another is asked.
func (k *Keeper) turn(p *policy.Policy, j *network.Judge, enforce bool) (ids []uint64, old *resolver.Server, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(p.Network.Resolvers, k.policy.Network.Resolvers) {
		r, err := k.newResolver(p)
		if err != nil {
			return nil, nil, err
		}
		old, k.resolver = k.resolver, r
		for _, s := range k.spaces {
			s.names = nil // closed with its server
		}
	}
	state := network.NewState(j)
	state.SetHost(k.segments, k.hostAddrs())
	for _, n := range k.state.Namespaces() {
		state.Put(n)
		ids = append(ids, n.ID)
	}
	k.policy, k.enforce, k.judge, k.state, k.turning = p, enforce, j, state, true
	k.failing.Store(&failing{j, enforce})
	clear(k.swarm.told)
	return ids, old, nil
}
