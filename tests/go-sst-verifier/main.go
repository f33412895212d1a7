// Command go-sst-verifier reads and writes tables with Pebble, an implementation that shares nothing with
// ours. It takes jobs from standard input, one a line, and stops at the first that fails:
//
//	dump TABLE OUT                      open, verify everything, walk in every way, list what is in it
//	write TABLE ENTRIES key=value...    write a table; the entries are in the form that dump lists
//
// Lines of a list: "P userkey sequence kind value", "R start end suffix value", "T entries"; bytes as hex, "-"
// for none.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/bloom"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/cockroachdb/pebble/vfs"
)

func main() {
	jobs := bufio.NewScanner(os.Stdin)
	jobs.Buffer(nil, 1<<20)
	for jobs.Scan() {
		job := strings.Fields(jobs.Text())
		if err := run(job); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", jobs.Text(), err)
			os.Exit(1)
		}
	}
	if err := jobs.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(job []string) error {
	switch {
	case len(job) == 3 && job[0] == "dump":
		return dump(job[1], job[2])
	case len(job) >= 3 && job[0] == "write":
		return write(job[1], job[2], job[3:])
	default:
		return fmt.Errorf("not a job")
	}
}

type entry struct {
	key   pebble.InternalKey
	value []byte
}

func dump(table, out string) error {
	file, err := vfs.Default.Open(table)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return err
	}
	options := sstable.ReaderOptions{
		Comparer: comparer,
		Filters:  map[string]sstable.FilterPolicy{bloom.FilterPolicy(10).Name(): bloom.FilterPolicy(10)},
	}
	reader, err := sstable.NewReader(readable, options)
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := reader.ValidateBlockChecksums(); err != nil {
		return err
	}
	entries, err := walk(reader)
	if err != nil {
		return err
	}
	ranges, err := reader.NewRawRangeKeyIter()
	if err != nil {
		return err
	}
	// Range keys hide points from the iterators of a store.
	if ranges != nil {
		ranges.Close()
	} else if err := verify(table, reader, entries); err != nil {
		return err
	}
	var list bytes.Buffer
	for _, e := range entries {
		seq, kind := e.key.SeqNum(), uint8(e.key.Kind())
		fmt.Fprintf(&list, "P %s %d %d %s\n", show(e.key.UserKey), seq, kind, show(e.value))
	}
	if err := dumpRangeKeys(reader, &list); err != nil {
		return err
	}
	fmt.Fprintf(&list, "T %d\n", len(entries))
	return os.WriteFile(out, list.Bytes(), 0o600)
}

// walk reads all entries forward, and fails unless reading backward and seeking find the same.
func walk(reader *sstable.Reader) ([]entry, error) {
	it, err := reader.NewIter(nil, nil)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var entries []entry
	for key, lazy := it.First(); key != nil; key, lazy = it.Next() {
		value, _, err := lazy.Value(nil)
		if err != nil {
			return nil, err
		}
		if n := len(entries); n > 0 {
			if last := entries[n-1].key; compare(last.UserKey, key.UserKey) >= 0 {
				return nil, fmt.Errorf("%x is not after %x", key.UserKey, last.UserKey)
			}
		}
		entries = append(entries, entry{key.Clone(), append([]byte(nil), value...)})
	}
	if err := it.Error(); err != nil {
		return nil, err
	}
	at := len(entries)
	for key, _ := it.Last(); key != nil; key, _ = it.Prev() {
		at--
		if at < 0 || !bytes.Equal(entries[at].key.UserKey, key.UserKey) {
			return nil, fmt.Errorf("backward: %x at %d", key.UserKey, at)
		}
	}
	if at != 0 {
		return nil, fmt.Errorf("backward: %d entries are missing", at)
	}
	for i := 0; i < len(entries); i += 1 + len(entries)/997 {
		want := entries[i]
		key, lazy := it.SeekGE(want.key.UserKey, 0)
		if key == nil || !bytes.Equal(key.UserKey, want.key.UserKey) {
			return nil, fmt.Errorf("seek to %x found %v", want.key.UserKey, key)
		}
		if value, _, err := lazy.Value(nil); err != nil || !bytes.Equal(value, want.value) {
			return nil, fmt.Errorf("seek to %x: other value, %v", want.key.UserKey, err)
		}
	}
	return entries, it.Error()
}

func dumpRangeKeys(reader *sstable.Reader, list *bytes.Buffer) error {
	it, err := reader.NewRawRangeKeyIter()
	if err != nil || it == nil {
		return err
	}
	defer it.Close()
	for span := it.First(); span != nil; span = it.Next() {
		for _, key := range span.Keys {
			fmt.Fprintf(list, "R %s %s %s %s\n", show(span.Start), show(span.End), show(key.Suffix), show(key.Value))
		}
	}
	return it.Error()
}

var formats = map[string]sstable.TableFormat{
	"LevelDb":   sstable.TableFormatLevelDB,
	"RocksDbV2": sstable.TableFormatRocksDBv2,
	"PebbleV1":  sstable.TableFormatPebblev1,
	"PebbleV2":  sstable.TableFormatPebblev2,
	"PebbleV3":  sstable.TableFormatPebblev3,
	"PebbleV4":  sstable.TableFormatPebblev4,
}

func write(table, list string, settings []string) error {
	options := sstable.WriterOptions{Comparer: comparer, MergerName: "nullptr"}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		number, _ := strconv.Atoi(value)
		switch name {
		case "format":
			options.TableFormat = formats[value]
		case "compression":
			options.Compression = map[string]sstable.Compression{
				"None": sstable.NoCompression, "Snappy": sstable.SnappyCompression, "Zstd": sstable.ZstdCompression,
			}[value]
		case "checksum":
			options.Checksum = map[string]sstable.ChecksumType{
				"Crc32c": sstable.ChecksumTypeCRC32c, "XxHash64": sstable.ChecksumTypeXXHash64,
			}[value]
		case "block":
			options.BlockSize = number
		case "index":
			options.IndexBlockSize = number
		case "restart":
			options.BlockRestartInterval = number
		case "times":
			options.BlockPropertyCollectors = []func() sstable.BlockPropertyCollector{timesCollector}
		case "bloom":
			options.FilterPolicy = bloom.FilterPolicy(number)
		default:
			return fmt.Errorf("%s is not a setting", name)
		}
	}
	file, err := vfs.Default.Create(table)
	if err != nil {
		return err
	}
	writer := sstable.NewWriter(objstorageprovider.NewFileWritable(file), options)
	if err := add(writer, list); err != nil {
		return err
	}
	return writer.Close()
}

func add(writer *sstable.Writer, list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 5 && words[0] == "P":
			err = writer.Set(parse(words[1]), parse(words[4]))
		case len(words) == 5 && words[0] == "R":
			err = writer.RangeKeySet(parse(words[1]), parse(words[2]), parse(words[3]), parse(words[4]))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func show(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}

func parse(s string) []byte {
	if s == "-" {
		return []byte{}
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
