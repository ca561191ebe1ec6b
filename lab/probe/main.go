// Command probe plays a program of a container, see package actor. It is the
// only file of the images that the tests make.
package main

import (
	"os"

	"casco/lab/actor"
)

func main() { os.Exit(actor.Main(os.Args[1:], os.Stdout, os.Stderr)) }
