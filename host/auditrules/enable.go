package auditrules

import "casco/lang"

// canEnable reports whether the kernel's audit is off. It fails if the switch
// is locked.
func canEnable() (isOff bool, err error) {
	now, err := enabledNow()
	if err != nil {
		return false, lang.Errorf(lang.Text{En: "ask the kernel's audit: %w", Es: "consultar la auditoría del núcleo: %w"}, err)
	}
	if now == locked {
		return false, errLocked
	}
	return now == off, nil
}

// disable switches audit off if it is on. Who has locked it since meant it to
// stay.
func disable() error {
	now, err := enabledNow()
	if err != nil || now != on {
		return err
	}
	return tell(func(c *client) error { return c.enable(off) })
}

func enabledNow() (now uint32, err error) {
	err = tell(func(c *client) error {
		st, err := c.status()
		now = st.Enabled
		return err
	})
	return now, err
}
