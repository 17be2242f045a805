/* A Node add-on whose C half writes on threads of its own. Built bare, and with libsigward.a. */
#include "ward.h"

#define NAPI_VERSION 8
#include <node_api.h>
#include <sys/wait.h>

static napi_value number(napi_env env, int64_t value) {
    napi_value result;
    CHECK(napi_create_int64(env, value, &result) == napi_ok);
    return result;
}

static napi_value ward_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, ward());
}

static napi_value replace_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, replace());
}

static napi_value mend_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, mend());
}

static napi_value overwritten_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, (int64_t)overwritten());
}

static napi_value swallowed_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, (int64_t)swallowed());
}

/* The errno of a bare write and of a bare writev on a foreign thread, summed: twice EPIPE is 64. */
static napi_value write_call(napi_env env, napi_callback_info info) {
    (void)info;
    return number(env, foreign_write(0) + foreign_write(1));
}

/* The signal that ends a child of C code that sends itself a SIGPIPE: 0 if it ignores that. */
static napi_value child_call(napi_env env, napi_callback_info info) {
    (void)info;
    int status = system("kill -s PIPE $$");
    return number(env, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static napi_value init(napi_env env, napi_value exports) {
    static const struct {
        const char *name;
        napi_callback function;
    } all[] = {
        {"ward", ward_call},           {"mend", mend_call},   {"overwritten", overwritten_call},
        {"swallowed", swallowed_call}, {"write", write_call},
        {"replace", replace_call},     {"child", child_call},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        napi_value function;
        CHECK(napi_create_function(env, NULL, 0, all[i].function, NULL, &function) == napi_ok);
        CHECK(napi_set_named_property(env, exports, all[i].name, function) == napi_ok);
    }
    return exports;
}

NAPI_MODULE(addon, init)
