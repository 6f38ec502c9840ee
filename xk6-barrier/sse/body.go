package sse

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// wireBody reads a response body as it comes over the wire, counts it, and runs the idle clock while it waits. The
// clock stands still while a handler works, because nothing is read then.
type wireBody struct {
	src   io.Reader
	idle  time.Duration
	timer *time.Timer // nil without an idle timeout
	bytes int64
}

func newWireBody(src io.Reader, idle time.Duration, onIdle func()) *wireBody {
	b := &wireBody{src: src, idle: idle}
	if idle > 0 {
		b.timer = time.AfterFunc(idle, onIdle)
		b.timer.Stop()
	}
	return b
}

// Read implements io.Reader.
func (b *wireBody) Read(p []byte) (int, error) {
	if b.timer != nil {
		b.timer.Reset(b.idle)
	}
	n, err := b.src.Read(p)
	if b.timer != nil {
		b.timer.Stop()
	}
	b.bytes += int64(n)
	return n, err
}

// mostEncodings is how many encodings a body may have one within the other: each takes memory of its own, and no server needs more.
const mostEncodings = 3

// unsupportedEncodingError names a Content-Encoding that cannot be read.
type unsupportedEncodingError struct{ encoding string }

func (e *unsupportedEncodingError) Error() string {
	return fmt.Sprintf("got Content-Encoding %q; allowed are gzip, deflate and identity, at most %d at once", e.encoding, mostEncodings)
}

// decoded undoes the Content-Encoding of a response. The readers are made at the first read: their headers come over
// the wire, and the open handler must not wait for them.
func decoded(wire io.Reader, header http.Header) io.Reader {
	var encodings []string
	for _, value := range header.Values("Content-Encoding") {
		for _, encoding := range strings.Split(value, ",") {
			if encoding = strings.ToLower(strings.TrimSpace(encoding)); encoding != "" && encoding != "identity" {
				encodings = append(encodings, encoding)
			}
		}
	}
	if len(encodings) > mostEncodings {
		return &decodingReader{err: &unsupportedEncodingError{encoding: strings.Join(encodings, ", ")}}
	}
	body := wire
	for i := len(encodings) - 1; i >= 0; i-- {
		body = &decodingReader{src: body, encoding: encodings[i]}
	}
	return body
}

type decodingReader struct {
	src      io.Reader
	encoding string
	decoder  io.Reader
	err      error
}

// Read implements io.Reader.
func (r *decodingReader) Read(p []byte) (int, error) {
	if r.decoder == nil && r.err == nil {
		r.decoder, r.err = newDecoder(r.src, r.encoding)
	}
	if r.err != nil {
		return 0, r.err
	}
	return r.decoder.Read(p)
}

func newDecoder(src io.Reader, encoding string) (io.Reader, error) {
	switch encoding {
	case "gzip", "x-gzip":
		return gzip.NewReader(src)
	case "deflate":
		// The standard asks for zlib, but servers that send the bare format exist and browsers read them.
		buffered := bufio.NewReader(src)
		head, err := buffered.Peek(2)
		if len(head) == 1 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		const deflateMethod = 8
		if head[0]&0x0f == deflateMethod && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			return zlib.NewReader(buffered)
		}
		return flate.NewReader(buffered), nil
	default:
		return nil, &unsupportedEncodingError{encoding: encoding}
	}
}
