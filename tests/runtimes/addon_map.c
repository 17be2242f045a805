/* A Node add-on: a map as an external ArrayBuffer. Built bare, and with libsigward.a. */
#include "map.h"

#define NAPI_VERSION 8
#include <node_api.h>

#define NAPI(call) CHECK((call) == napi_ok)

static napi_value nothing(napi_env env) {
    napi_value result;
    NAPI(napi_get_undefined(env, &result));
    return result;
}

static napi_value number(napi_env env, double value) {
    napi_value result;
    NAPI(napi_create_double(env, value, &result));
    return result;
}

static napi_value ward_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, ward());
}

static napi_value open_call(napi_env env, napi_callback_info info) {
    char path[4096];
    size_t length, count = 1;
    napi_value argument;
    NAPI(napi_get_cb_info(env, info, &count, &argument, NULL, NULL));
    NAPI(napi_get_value_string_utf8(env, argument, path, sizeof path, &length));
    map_open(path);
    return nothing(env);
}

/* The map's bytes where they are: JavaScript reads them itself. */
static napi_value buffer_call(napi_env env, napi_callback_info info) {
    (void)info;
    napi_value result;
    NAPI(napi_create_external_arraybuffer(env, (void *)(uintptr_t)map_data(), map_len(), NULL, NULL,
                                          &result));
    return result;
}

static napi_value sum_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, (double)map_sum());
}

static napi_value status_call(napi_env env, napi_callback_info info) {
    (void)info;
    char text[128];
    napi_value result;
    map_status(text, sizeof text);
    NAPI(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result));
    return result;
}

static napi_value refresh_call(napi_env env, napi_callback_info info) {
    (void)info;
    map_refresh();
    return nothing(env);
}

static napi_value init(napi_env env, napi_value exports) {
    static const struct {
        const char *name;
        napi_callback function;
    } all[] = {
        {"ward", ward_call}, {"open", open_call},     {"buffer", buffer_call},
        {"sum", sum_call},   {"status", status_call}, {"refresh", refresh_call},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        napi_value function;
        NAPI(napi_create_function(env, NULL, 0, all[i].function, NULL, &function));
        NAPI(napi_set_named_property(env, exports, all[i].name, function));
    }
    return exports;
}

NAPI_MODULE(addon_map, init)
