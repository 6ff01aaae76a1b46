// A filter in C against the raw ABI: names itself in a response header, turns the body into capitals and signs it.
//
// It needs no libc. The configuration is the signature, as text; without one the body stays unsigned.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name), used))
#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

enum { OK = 0 };
enum { CONTINUE = 0 };
enum { RESPONSE_HEADERS = 2 };
enum { RESPONSE_BODY = 1, PLUGIN_CONFIGURATION = 7 };

IMPORT(proxy_get_buffer_bytes)
uint32_t proxy_get_buffer_bytes(uint32_t buffer, size_t start, size_t max, char **data, size_t *size);
IMPORT(proxy_set_buffer_bytes)
uint32_t proxy_set_buffer_bytes(uint32_t buffer, size_t start, size_t size, const char *data, size_t data_size);
IMPORT(proxy_replace_header_map_value)
uint32_t proxy_replace_header_map_value(uint32_t map, const char *key, size_t key_size, const char *value, size_t value_size);
IMPORT(proxy_remove_header_map_value)
uint32_t proxy_remove_header_map_value(uint32_t map, const char *key, size_t key_size);

#define TEXT(literal) literal, sizeof(literal) - 1

static char signature[256];
static size_t signature_size;

// Where the host puts what it hands over. Nothing of it is kept past the callback, so every callback starts at the bottom
// again: no block is ever freed, and memory grows to the largest callback and no further.
extern char __heap_base;
static char *top = &__heap_base;

static void forget_all(void) { top = &__heap_base; }

EXPORT(proxy_on_memory_allocate)
void *allocate(size_t size) {
    const uintptr_t page = 65536;
    uintptr_t end = (uintptr_t)top + size;
    size_t pages = (end + page - 1) / page, have = __builtin_wasm_memory_size(0);
    if (end < size || (pages > have && __builtin_wasm_memory_grow(0, pages - have) == SIZE_MAX))
        return NULL; // which the host reports to whoever asked
    void *block = top;
    top = (char *)end;
    return block;
}

EXPORT(proxy_abi_version_0_2_1)
void abi_version(void) {}

EXPORT(proxy_on_configure)
bool on_configure(uint32_t root, size_t size) {
    char *text = NULL;
    forget_all();
    signature_size = 0;
    if (size > sizeof signature)
        return false; // refuses the configuration, and with it the start
    if (size > 0 && proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &text, &signature_size) != OK)
        return false;
    for (size_t i = 0; i < signature_size; i++)
        signature[i] = text[i];
    return true;
}

EXPORT(proxy_on_response_headers)
uint32_t on_response_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    forget_all();
    proxy_replace_header_map_value(RESPONSE_HEADERS, TEXT("x-guest"), TEXT("c"));
    proxy_remove_header_map_value(RESPONSE_HEADERS, TEXT("content-length")); // the body will be longer
    return CONTINUE;
}

EXPORT(proxy_on_response_body)
uint32_t on_response_body(uint32_t context, size_t size, bool end_of_stream) {
    char *body = NULL;
    forget_all();
    if (size > 0 && proxy_get_buffer_bytes(RESPONSE_BODY, 0, size, &body, &size) == OK) {
        for (size_t i = 0; i < size; i++)
            if (body[i] >= 'a' && body[i] <= 'z')
                body[i] -= 'a' - 'A';
        proxy_set_buffer_bytes(RESPONSE_BODY, 0, size, body, size);
    }
    if (end_of_stream)
        proxy_set_buffer_bytes(RESPONSE_BODY, size, 0, signature, signature_size); // past the end: appends
    return CONTINUE;
}
