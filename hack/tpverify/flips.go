package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// tryFlips flips one bit of every byte of the log's files, each in turn, and returns an exit code: 0
// if the untouched log is accepted and every other is refused.
func tryFlips(dir, vkeyFile string) int {
	log, err := load(dir)
	if err == nil {
		_, _, err = verify(log.read, vkeyFile, "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "REFUSED untouched:", err)
		return 1
	}
	var tried, accepted atomic.Int64
	var working sync.WaitGroup
	work := make(chan func())
	for range runtime.NumCPU() {
		working.Go(func() {
			for each := range work {
				each()
			}
		})
	}
	for path, raw := range log {
		for at := range raw {
			work <- func() {
				tried.Add(1)
				if _, _, err := verify(log.flipped(path, at), vkeyFile, ""); err == nil {
					accepted.Add(1)
					fmt.Fprintf(os.Stderr, "ACCEPTED with byte %d of %s changed\n", at, path)
				}
			}
		}
	}
	close(work)
	working.Wait()
	fmt.Printf("%d bits flipped, %d accepted\n", tried.Load(), accepted.Load())
	if accepted.Load() > 0 {
		return 1
	}
	return 0
}

// memory is a log's files by path.
type memory map[string][]byte

// load reads the files that carry the log: checkpoint and tiles, and what else lies with them not.
func load(dir string) (memory, error) {
	log := memory{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name != "checkpoint" && !strings.HasPrefix(name, "tile/") {
			return err
		}
		log[name], err = os.ReadFile(path)
		return err
	})
	return log, err
}

func (log memory) read(path string) ([]byte, error) {
	if raw, found := log[path]; found {
		return raw, nil
	}
	return nil, errors.New(path + " is not there")
}

// flipped reads the same log with one bit of one byte changed; which bit differs from byte to byte.
func (log memory) flipped(changed string, at int) files {
	raw := slices.Clone(log[changed])
	raw[at] ^= 1 << ((at + 3) % 8)
	return func(path string) ([]byte, error) {
		if path == changed {
			return raw, nil
		}
		return log.read(path)
	}
}
