// A filter in Go against the raw ABI: names itself in a response header and answers /hello itself.
//
// The configuration is the greeting that /hello answers with, as text.
package main

import "unsafe"

const (
	ok              = 0
	actionContinue  = 0
	actionPause     = 1
	requestHeaders  = 0
	responseHeaders = 2
	pluginConfig    = 7
	logInfo         = 2
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, message string) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, max uint32, data, size *uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func proxyGetHeaderMapValue(headers uint32, key string, data, size *uint32) uint32

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(headers uint32, key, value string) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(status uint32, details, body string, pairs *byte, pairsSize, grpcStatus uint32) uint32

var greeting string

// The blocks that the host asked for, by address, until they are taken: the reference keeps the collector away.
var lent = map[uint32][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 {
	block := make([]byte, max(size, 1))
	address := uint32(uintptr(unsafe.Pointer(&block[0])))
	lent[address] = block
	return address
}

// take returns what the host put into a block, and lets go of the block.
func take(address, size uint32) string {
	defer delete(lent, address)
	return string(lent[address][:size])
}

func requestHeader(name string) string {
	var data, size uint32
	if proxyGetHeaderMapValue(requestHeaders, name, &data, &size) != ok {
		return ""
	}
	return take(data, size)
}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	var data uint32
	if proxyGetBufferBytes(pluginConfig, 0, size, &data, &size) == ok {
		greeting = take(data, size)
	}
	proxyLog(logInfo, "greeting with "+greeting)
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, endOfStream uint32) uint32 {
	if requestHeader(":path") != "/hello" {
		return actionContinue
	}
	proxySendLocalResponse(200, "", greeting+"\n", nil, 0, ^uint32(0))
	return actionPause
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count, endOfStream uint32) uint32 {
	proxyReplaceHeaderMapValue(responseHeaders, "x-guest", "go")
	return actionContinue
}

// A module of this kind has no main of its own, but the compiler wants one.
func main() {}
