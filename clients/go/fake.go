package understudy

// Always is an elector without an agent that leads from Start until Withdraw or Close, on every system: for laptops, and
// for a program that runs once.
func Always(miner string, options ...Option) *Elector {
	fake := NewFake(miner, options...)
	fake.Elect()
	return fake.Elector
}

// Fake is an elector without an agent that leads when a test says so.
type Fake struct {
	*Elector
	token uint64
}

// NewFake makes one. Hand its Elector to the code under test.
func NewFake(miner string, options ...Option) *Fake {
	e := New("", miner, options...)
	e.always = true
	return &Fake{Elector: e}
}

// Elect begins a term, and returns its token.
func (f *Fake) Elect() (token uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token++
	f.said = said{role: "leader", reason: "elected", leader: f.miner, instance: f.miner}
	if !f.withdrawn {
		f.last, f.leading = Grant{Token: f.token, endless: true}, true
	}
	f.changed()
	return f.token
}

// Lose ends it, for a reason such as "lock_lost".
func (f *Fake) Lose(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = said{role: "standby", reason: reason, instance: f.miner}
	f.leading = false
	f.changed()
}

// In place of a campaign.
func (e *Elector) stand() {
	defer close(e.done)
	<-e.quit
	<-e.over
}
