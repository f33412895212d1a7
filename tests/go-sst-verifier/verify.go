package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/bloom"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/cockroachdb/pebble/vfs"
)

// Verifications beyond reading: layout, separators, properties, and the two ways in which a store takes a table.

// The bytes behind a block: its type and its checksum.
const trailer = 5

// verify holds a table against its entries.
func verify(table string, reader *sstable.Reader, entries []entry) error {
	layout, err := reader.Layout()
	if err != nil {
		return err
	}
	checks := []func() error{
		func() error { return checkPlace(table, layout) },
		func() error { return checkSeparators(entries) },
		func() error { return checkProperties(reader, layout, entries) },
		func() error { return seekBackward(reader, entries) },
		func() error { return readAsRestore(table, entries) },
		func() error { return ingest(table, reader, entries) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkPlace fails unless the blocks and the footer fill the file, without gap and overlap.
func checkPlace(table string, layout *sstable.Layout) error {
	info, err := os.Stat(table)
	if err != nil {
		return err
	}
	var blocks []sstable.BlockHandle
	for _, data := range layout.Data {
		blocks = append(blocks, data.BlockHandle)
	}
	blocks = append(blocks, layout.Index...)
	blocks = append(blocks, layout.ValueBlock...)
	blocks = append(blocks, layout.TopIndex, layout.Filter, layout.RangeDel, layout.RangeKey, layout.Properties,
		layout.MetaIndex)
	total := layout.Footer.Length
	seen := map[uint64]bool{}
	for _, block := range blocks {
		if block.Length == 0 && block.Offset == 0 {
			continue
		}
		if seen[block.Offset] {
			return fmt.Errorf("two blocks begin at %d", block.Offset)
		}
		seen[block.Offset] = true
		total += block.Length + trailer
	}
	// The index of a table's value blocks is not listed with its trailer by every version.
	if total != uint64(info.Size()) && layout.ValueIndex.Length == 0 {
		return fmt.Errorf("blocks and footer have %d bytes, the file %d", total, info.Size())
	}
	return nil
}

// checkSeparators holds the key comparer's own rules on neighbours of the table.
func checkSeparators(entries []entry) error {
	for i := 1; i < len(entries); i++ {
		a, b := entries[i-1].key.UserKey, entries[i].key.UserKey
		if s := comparer.Separator(nil, a, b); compare(a, s) > 0 || compare(s, b) >= 0 {
			return fmt.Errorf("separator %x of %x and %x", s, a, b)
		}
		if s := comparer.Successor(nil, a); compare(a, s) > 0 {
			return fmt.Errorf("successor %x of %x", s, a)
		}
		if comparer.AbbreviatedKey(a) > comparer.AbbreviatedKey(b) {
			return fmt.Errorf("abbreviated keys of %x and %x", a, b)
		}
		pa, pb := a[:comparer.Split(a)], b[:comparer.Split(b)]
		if c := bytes.Compare(pa[:len(pa)-1], pb[:len(pb)-1]); c > 0 {
			return fmt.Errorf("prefixes of %x and %x", a, b)
		}
		next := comparer.ImmediateSuccessor(nil, pa)
		if compare(pa, next) >= 0 || !bytes.Equal(pa, pb) && compare(next, b) > 0 {
			return fmt.Errorf("immediate successor %x of %x", next, pa)
		}
	}
	return nil
}

// checkProperties holds what the properties tell against what is there; what is left out is no lie.
func checkProperties(reader *sstable.Reader, layout *sstable.Layout, entries []entry) error {
	var keys, values, data uint64
	var oldest, newest []byte
	for _, e := range entries {
		keys += uint64(e.key.Size())
		values += uint64(len(e.value))
		_, version := parts(e.key.UserKey)
		if oldest == nil || bytes.Compare(version, oldest) < 0 {
			oldest = version
		}
		if bytes.Compare(version, newest) > 0 {
			newest = version
		}
	}
	for _, block := range layout.Data {
		data += block.Length + trailer
	}
	p := reader.Properties
	for _, check := range []struct {
		name      string
		told, are uint64
	}{
		{"entries", p.NumEntries, uint64(len(entries))},
		{"bytes of keys", p.RawKeySize, keys},
		{"bytes of values", p.RawValueSize, values},
		{"data blocks", p.NumDataBlocks, uint64(len(layout.Data))},
		{"bytes of data blocks", p.DataSize, data},
	} {
		if check.told != 0 && check.told != check.are && reader.Properties.ValueBlocksSize == 0 {
			return fmt.Errorf("properties tell %d %s, there are %d", check.told, check.name, check.are)
		}
	}
	if p.IndexPartitions != 0 && p.IndexPartitions != uint64(len(layout.Index)) {
		return fmt.Errorf("properties tell %d index partitions, there are %d", p.IndexPartitions, len(layout.Index))
	}
	for name, want := range map[string][]byte{"crdb.ts.min": oldest, "crdb.ts.max": newest} {
		if told, ok := p.UserProperties[name]; ok && !bytes.Equal([]byte(told), want) {
			return fmt.Errorf("%s is %x, and %x is there", name, told, want)
		}
	}
	return nil
}

// seekBackward asks for the entry before each of many.
func seekBackward(reader *sstable.Reader, entries []entry) error {
	it, err := reader.NewIter(nil, nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for i := 0; i < len(entries); i += 1 + len(entries)/499 {
		key, _ := it.SeekLT(entries[i].key.UserKey, 0)
		if (key == nil) != (i == 0) || key != nil && !bytes.Equal(key.UserKey, entries[i-1].key.UserKey) {
			return fmt.Errorf("before %x: found %v", entries[i].key.UserKey, key)
		}
	}
	return it.Error()
}

func options(reader *sstable.Reader) *pebble.Options {
	options := &pebble.Options{
		Comparer: comparer,
		FS:       vfs.NewMem(),
		Merger:   &pebble.Merger{Name: "nullptr", Merge: pebble.DefaultMerger.Merge},
		Levels:   []pebble.LevelOptions{{FilterPolicy: bloom.FilterPolicy(10)}},
		Logger:   silent{},
	}
	if reader != nil {
		if format, err := reader.TableFormat(); err == nil && format > sstable.TableFormatRocksDBv2 {
			options.FormatMajorVersion = pebble.FormatNewest
		}
	}
	return options
}

type silent struct{}

func (silent) Infof(string, ...interface{})         {}
func (silent) Fatalf(text string, a ...interface{}) { panic(fmt.Sprintf(text, a...)) }

// readAsRestore reads the table with the iterator that RESTORE uses.
func readAsRestore(table string, entries []entry) error {
	file, err := os.Open(table)
	if err != nil {
		return err
	}
	it, err := pebble.NewExternalIter(options(nil), &pebble.IterOptions{}, [][]sstable.ReadableFile{{file}})
	if err != nil {
		return err
	}
	defer it.Close()
	return walkStore(it, entries)
}

// ingest lets a store take the table as it is, which holds its own checks, and reads it there.
func ingest(table string, reader *sstable.Reader, entries []entry) error {
	if len(entries) == 0 {
		return nil // a store refuses empty tables, and BACKUP writes none
	}
	options := options(reader)
	content, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	if err := writeTo(options.FS, "table.sst", content); err != nil {
		return err
	}
	db, err := pebble.Open("store", options)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Ingest([]string{"table.sst"}); err != nil {
		return fmt.Errorf("ingesting: %w", err)
	}
	if err := db.CheckLevels(nil); err != nil {
		return err
	}
	it, err := db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return err
	}
	defer it.Close()
	if err := walkStore(it, entries); err != nil {
		return err
	}
	// Of each key the newest version, as an AS OF in the future would read it.
	for i := 0; i < len(entries); i += 1 + len(entries)/199 {
		key := entries[i].key.UserKey
		prefix := key[:comparer.Split(key)]
		newest := i
		for newest > 0 {
			before := entries[newest-1].key.UserKey
			if !bytes.Equal(before[:comparer.Split(before)], prefix) {
				break
			}
			newest--
		}
		if !it.SeekPrefixGE(prefix) || !bytes.Equal(it.Key(), entries[newest].key.UserKey) {
			return fmt.Errorf("newest version of %x: found %x", prefix, it.Key())
		}
	}
	return it.Error()
}

func writeTo(fs vfs.FS, name string, content []byte) error {
	file, err := fs.Create(name)
	if err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

// walkStore fails unless the iterator has just these entries, forward and within bounds.
func walkStore(it *pebble.Iterator, entries []entry) error {
	at := 0
	for ok := it.First(); ok; ok = it.Next() {
		if at == len(entries) || !bytes.Equal(it.Key(), entries[at].key.UserKey) || !bytes.Equal(it.Value(), entries[at].value) {
			return fmt.Errorf("store: %x at %d", it.Key(), at)
		}
		at++
	}
	if err := it.Error(); err != nil {
		return err
	}
	if at != len(entries) {
		return fmt.Errorf("store: %d of %d entries", at, len(entries))
	}
	if at < 3 {
		return nil
	}
	low, high := at/3, 2*at/3
	it.SetBounds(entries[low].key.UserKey, entries[high].key.UserKey)
	within := 0
	for ok := it.Last(); ok; ok = it.Prev() {
		within++
	}
	it.SetBounds(nil, nil)
	if within != high-low {
		return fmt.Errorf("store: %d entries within bounds, not %d", within, high-low)
	}
	return it.Error()
}

// times collects the times of versions in each block, as the writers of tables of Pebble do.
type times struct{ low, high uint64 }

func (t *times) Add(key pebble.InternalKey, _ []byte) error {
	_, version := parts(key.UserKey)
	if len(version) < 8 {
		return nil
	}
	at := binary.BigEndian.Uint64(version)
	if t.high == 0 || at < t.low {
		t.low = at
	}
	t.high = max(t.high, at+1)
	return nil
}

func (t *times) FinishDataBlock() (low, high uint64, err error) {
	low, high = t.low, t.high
	*t = times{}
	return low, high, nil
}

func timesCollector() sstable.BlockPropertyCollector {
	return sstable.NewBlockIntervalCollector("MVCCTimeInterval", &times{}, nil)
}
