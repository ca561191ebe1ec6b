// Package guard sees the guard from outside: what its door, its look at what
// starts and its network rules let through, by what engines, kernels and receivers
// show, and never by what casco says.
package guard
