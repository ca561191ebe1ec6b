// Package archtest holds rules about the code itself as tests: which package
// may import which, that each says what it is, and that both languages are
// always there.
package archtest
