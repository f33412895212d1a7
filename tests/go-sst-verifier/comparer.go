package main

import (
	"bytes"

	"github.com/cockroachdb/pebble"
)

// The order of a backup's keys, from the description of the format: a user key is
//
//	roachkey 00 version len(version)+1    or    roachkey 00
//
// and sorts by roachkey, then: no version first, newer versions before older ones.

// parts splits a user key. A bare suffix (version and length byte) has an empty roachkey; a malformed key is
// all roachkey.
func parts(key []byte) (roachkey, version []byte) {
	n := len(key)
	if n == 0 {
		return nil, nil
	}
	suffix := int(key[n-1])
	if suffix == n {
		return nil, key[:n-1]
	}
	at := n - 1 - suffix
	if at < 0 || key[at] != 0 {
		return key, nil
	}
	if suffix == 0 {
		return key[:at], nil
	}
	return key[:at], key[at+1 : n-1]
}

func compare(a, b []byte) int {
	ka, va := parts(a)
	kb, vb := parts(b)
	if c := bytes.Compare(ka, kb); c != 0 {
		return c
	}
	switch {
	case len(va) == 0 && len(vb) == 0:
		return 0
	case len(va) == 0:
		return -1
	case len(vb) == 0:
		return 1
	}
	return bytes.Compare(vb, va)
}

// prefixLen is the length of the roachkey with its separator: what versions of one key have in common.
func prefixLen(key []byte) int {
	roachkey, version := parts(key)
	switch {
	case len(version) == 0:
		return len(key)
	case len(version)+1 == len(key):
		return 0
	default:
		return len(roachkey) + 1
	}
}

// separator appends a key in [a, b) that is short.
func separator(dst, a, b []byte) []byte {
	ka, _ := parts(a)
	kb, _ := parts(b)
	if bytes.Equal(ka, kb) {
		return append(dst, a...)
	}
	short := pebble.DefaultComparer.Separator(nil, ka, kb)
	if bytes.Equal(short, ka) {
		return append(dst, a...)
	}
	return append(append(dst, short...), 0)
}

// successor appends a key at or after a that is short.
func successor(dst, a []byte) []byte {
	ka, _ := parts(a)
	short := pebble.DefaultComparer.Successor(nil, ka)
	if bytes.Equal(short, ka) {
		return append(dst, a...)
	}
	return append(append(dst, short...), 0)
}

var comparer = &pebble.Comparer{
	Name:    "cockroach_comparator",
	Compare: compare,
	Equal:   func(a, b []byte) bool { return compare(a, b) == 0 },
	AbbreviatedKey: func(key []byte) uint64 {
		roachkey, _ := parts(key)
		return pebble.DefaultComparer.AbbreviatedKey(roachkey)
	},
	FormatKey: pebble.DefaultComparer.FormatKey,
	Separator: separator,
	Successor: successor,
	ImmediateSuccessor: func(dst, prefix []byte) []byte {
		roachkey, _ := parts(prefix)
		return append(append(dst, roachkey...), 0, 0)
	},
	Split: prefixLen,
}
