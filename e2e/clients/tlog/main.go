// Reads a ledger folder with the Go project's own checksum-database client code (golang.org/x/mod/sumdb), which knows
// nothing of Remit: signed note, tiles, inclusion and consistency proofs. What C2SP adds to it is here: the cosignature
// verifier and the shape of a tlog-proof file.
//
// Usage: main LEDGER LOG_VKEY PROOF_FILE ENTRY_FILE WITNESS_VKEY...
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir, vkey, proofFile, entryFile string, witnesses []string) error {
	tree, cosigned, err := checkpoint(filepath.Join(dir, "checkpoint"), vkey, witnesses)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, &folder{dir})
	entries := 0
	for first := int64(0); first < tree.N; first += 256 {
		bundle, err := bundle(dir, first/256, tree.N)
		if err != nil {
			return err
		}
		for at, entry := range bundle {
			index := first + int64(at)
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			entries++
		}
	}
	for old := int64(1); old <= tree.N; old++ {
		root, err := tlog.TreeHash(old, reader)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, old, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old, root); err != nil {
			return fmt.Errorf("consistency from %d: %w", old, err)
		}
	}
	if err := tlogProof(proofFile, entryFile, vkey, witnesses); err != nil {
		return fmt.Errorf("tlog-proof: %w", err)
	}
	fmt.Printf("{\"size\": %d, \"entries\": %d, \"cosigned\": %d}\n", tree.N, entries, cosigned)
	return nil
}

// checkpoint opens a signed note and counts the witnesses among its signers.
func checkpoint(file, vkey string, witnesses []string) (tlog.Tree, int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, 0, err
	}
	return open(text, vkey, witnesses)
}

func open(text []byte, vkey string, witnesses []string) (tlog.Tree, int, error) {
	log, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, 0, err
	}
	known := []note.Verifier{log}
	for _, witness := range witnesses {
		cosigner, err := newCosigner(witness)
		if err != nil {
			return tlog.Tree{}, 0, err
		}
		known = append(known, cosigner)
	}
	opened, err := note.Open(text, note.VerifierList(known...))
	if err != nil {
		return tlog.Tree{}, 0, err
	}
	cosigned, signed := 0, false
	for _, signature := range opened.Sigs {
		if signature.Name == log.Name() && signature.Hash == log.KeyHash() {
			signed = true
		} else {
			cosigned++
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if !signed || len(lines) != 4 || lines[0] != log.Name() {
		return tlog.Tree{}, 0, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, 0, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, cosigned, err
}

// folder gives the client its tiles from files.
type folder struct{ dir string }

func (f *folder) Height() int { return 8 }

func (f *folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f *folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// The checksum database writes the height into the path, C2SP does not.
		path := strings.TrimPrefix(tile.Path(), "tile/8/")
		bytes, err := os.ReadFile(filepath.Join(f.dir, "tile", path))
		if errors.Is(err, os.ErrNotExist) {
			full := tile
			full.W = 256
			bytes, err = os.ReadFile(filepath.Join(f.dir, "tile", strings.TrimPrefix(full.Path(), "tile/8/")))
			if err == nil {
				bytes = bytes[:tile.W*32]
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

// bundle reads the entries of one C2SP entry bundle.
func bundle(dir string, number, size int64) ([][]byte, error) {
	name := strings.TrimPrefix(tlog.Tile{H: 8, L: 0, N: number, W: 256}.Path(), "tile/8/0/")
	width := size - number*256
	if width < 256 {
		name = fmt.Sprintf("%s.p/%d", name, width)
	}
	rest, err := os.ReadFile(filepath.Join(dir, "tile/entries", name))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(rest) >= 2 {
		length := int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:2+length])
		rest = rest[2+length:]
	}
	return entries, nil
}

// tlogProof checks one entry by nothing but its proof file.
func tlogProof(proofFile, entryFile, vkey string, witnesses []string) error {
	text, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return err
	}
	head, signed, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("no tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, cosigned, err := open(signed, vkey, witnesses)
	if err != nil {
		return err
	}
	if cosigned < len(witnesses) {
		return fmt.Errorf("%d of %d witnesses", cosigned, len(witnesses))
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	if tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(append(entry, ' '))) == nil {
		return errors.New("another entry passes")
	}
	return nil
}

// cosigner verifies cosignature/v1 lines, which golang.org/x/mod leaves to its caller.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, errors.New("not a witness's key")
	}
	return &cosigner{parts[0], uint32(hash), key[1:]}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }

func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(c.key, []byte(signed), sig[8:])
}
