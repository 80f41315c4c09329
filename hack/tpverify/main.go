// Tpverify checks an export of the audit log without any of taskpass's code: signature and hashes
// are the business of golang.org/x/mod/sumdb, which Go itself trusts with its checksum database.
//
//	tpverify DIR VKEY_FILE [KEPT_CHECKPOINT]
//	tpverify -flips DIR VKEY_FILE
//
// It reads every entry and every tile that a log of the checkpoint's size consists of. With a
// checkpoint that was kept elsewhere it also shows that the log begins with that one. The oldest
// entries may be absent where an entry of the log says that they were pruned. The first line of
// VKEY_FILE is the key that signs the log now; the others, those that signed it before, count for
// the kept checkpoint only. It exits with
// 0 if all of that holds, 1 if not, and 2 if it was called wrongly. With -flips it tries itself: one
// bit of each byte of the log's files is flipped in memory, and each time it must refuse.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height

	pruneType = "dev.taskpass.log.prune"
)

// files reads one of a log's files by its path in the export.
type files func(path string) ([]byte, error)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "-flips" {
		os.Exit(tryFlips(os.Args[2], os.Args[3]))
	}
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: tpverify DIR VKEY_FILE [KEPT_CHECKPOINT]")
		os.Exit(2)
	}
	kept := ""
	if len(os.Args) == 4 {
		kept = os.Args[3]
	}
	read := func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(os.Args[1], path)) }
	tree, absent, err := verify(read, os.Args[2], kept)
	if err != nil {
		fmt.Fprintln(os.Stderr, "REFUSED:", err)
		os.Exit(1)
	}
	fmt.Printf("OK size %d root %s\n", tree.N, tree.Hash)
	if absent > 0 {
		fmt.Printf("bodies absent by policy 0..%d\n", absent-1)
	}
	if kept == "" {
		fmt.Println("no memory given: rollback and fork NOT excluded")
	}
}

// verify returns the log's head, and how many of its first entries are absent by policy, once
// everything that is read is found to be under it.
func verify(read files, vkeyFile, kept string) (tree tlog.Tree, absent int64, err error) {
	text, err := os.ReadFile(vkeyFile)
	if err != nil {
		return tree, 0, err
	}
	var keys []note.Verifier
	for line := range strings.Lines(string(text)) {
		key, err := note.NewVerifier(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return tree, 0, fmt.Errorf("key: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return tree, 0, errors.New("key: the file has none")
	}
	raw, err := read("checkpoint")
	if err != nil {
		return tree, 0, err
	}
	if tree, err = parseCheckpoint(raw, keys[:1]); err != nil {
		return tree, 0, fmt.Errorf("checkpoint: %w", err)
	}
	hashes := tlog.TileHashReader(tree, tiles{read})
	if absent, err = checkEntries(read, tree, hashes); err != nil {
		return tree, 0, err
	}
	if err := checkTiles(read, tree, hashes); err != nil {
		return tree, 0, err
	}
	if kept == "" {
		return tree, absent, nil
	}
	if raw, err = os.ReadFile(kept); err != nil {
		return tree, 0, err
	}
	old, err := parseCheckpoint(raw, keys)
	if err != nil {
		return tree, 0, fmt.Errorf("kept checkpoint: %w", err)
	}
	return tree, absent, checkGrowth(old, tree, hashes)
}

// parseCheckpoint returns the head that a checkpoint tells of, if one of the log's keys signed it.
func parseCheckpoint(raw []byte, keys []note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(raw, note.VerifierList(keys...))
	if err != nil {
		return tlog.Tree{}, err
	}
	// The note package takes more than one spelling of base64, so one bit can differ unnoticed.
	for _, signature := range append(opened.Sigs, opened.UnverifiedSigs...) {
		sig, err := base64.StdEncoding.Strict().DecodeString(signature.Base64)
		if err != nil || len(sig) < 5 {
			return tlog.Tree{}, errors.New("a signature is not in the one form of base64")
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != keys[0].Name() || lines[3] != "" {
		return tlog.Tree{}, errors.New("the body is not origin, size and root of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, errors.New("the size is not a number")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return tlog.Tree{}, errors.New("the root is not a hash")
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// checkEntries hashes every entry and compares it with the leaf that is proven to be under the root.
// It returns how many of the first are absent, which an entry must tell of.
func checkEntries(read files, tree tlog.Tree, hashes tlog.HashReader) (absent int64, err error) {
	pruned := int64(0)
	for first := int64(0); first < tree.N; first += width {
		count := min(width, tree.N-first)
		path := c2spPath(tlog.Tile{H: height, L: -1, N: first / width, W: int(count)})
		bundle, err := read(path)
		if errors.Is(err, os.ErrNotExist) && absent == first && count == width {
			absent = first + width
			continue
		}
		if err != nil {
			return 0, err
		}
		indexes := make([]int64, count)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		leaves, err := hashes.ReadHashes(indexes)
		if err != nil {
			return 0, err
		}
		for i, leaf := range leaves {
			var entry []byte
			if entry, bundle, err = nextEntry(bundle); err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			if tlog.RecordHash(entry) != leaf {
				return 0, fmt.Errorf("entry %d is not what was signed", first+int64(i))
			}
			if absent > pruned {
				pruned = prunedBefore(entry)
			}
		}
		if len(bundle) != 0 {
			return 0, fmt.Errorf("%s has bytes after its last entry", path)
		}
	}
	if absent > pruned {
		return 0, fmt.Errorf("entries 0..%d are absent, and no entry says that they were pruned", absent-1)
	}
	return absent, nil
}

// prunedBefore returns the index before which an entry says that all were pruned; 0 for any other.
func prunedBefore(entry []byte) int64 {
	var said struct {
		Type string
		Data struct {
			MinIndex int64 `json:"min_index"`
		}
	}
	if json.Unmarshal(entry, &said) != nil || said.Type != pruneType {
		return 0
	}
	return said.Data.MinIndex
}

// nextEntry splits the first entry off a bundle: its length in two bytes, then its bytes.
func nextEntry(bundle []byte) (entry, rest []byte, err error) {
	if len(bundle) < 2 {
		return nil, nil, errors.New("ends within an entry")
	}
	end := 2 + int(binary.BigEndian.Uint16(bundle))
	if len(bundle) < end {
		return nil, nil, errors.New("ends within an entry")
	}
	return bundle[2:end], bundle[end:], nil
}

// checkTiles compares every tile with what the log hashes to, those that no proof needed included.
func checkTiles(read files, tree tlog.Tree, hashes tlog.HashReader) error {
	for level := 0; tree.N>>(height*level) > 0; level++ {
		inLevel := tree.N >> (height * level)
		for first := int64(0); first < inLevel; first += width {
			count := min(width, inLevel-first)
			tile := tlog.Tile{H: height, L: level, N: first / width, W: int(count)}
			want, err := tlog.ReadTileData(tile, hashes)
			if err != nil {
				return err
			}
			got, err := read(c2spPath(tile))
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return fmt.Errorf("%s is not what the entries hash to", c2spPath(tile))
			}
		}
	}
	return nil
}

// checkGrowth shows that the log begins with the log that a kept checkpoint tells of.
func checkGrowth(old, tree tlog.Tree, hashes tlog.HashReader) error {
	if old.N > tree.N {
		return fmt.Errorf("ROLLBACK: %d entries, %d were kept", tree.N, old.N)
	}
	if old.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("FORK: %w", err)
	}
	return nil
}

// tiles reads an export's tiles for tlog, which proves each of them before it uses it.
type tiles struct{ read files }

func (t tiles) Height() int { return height }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, 0, len(wanted))
	for _, tile := range wanted {
		data, err := t.read(c2spPath(tile))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s is cut, or too long", c2spPath(tile))
		}
		found = append(found, data)
	}
	return found, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// c2spPath returns a tile's path as C2SP tlog-tiles has it; tlog's own names the height as well,
// and calls entries data.
func c2spPath(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if tile.L == -1 {
		path = "entries/" + strings.TrimPrefix(path, "data/")
	}
	return "tile/" + path
}
