/* The native half of MapHost.java: a map as a direct ByteBuffer. Built bare, and with
 * libsigward.a. */
#include "map.h"

#include <jni.h>

JNIEXPORT jint JNICALL Java_MapHost_ward(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return ward();
}

JNIEXPORT jint JNICALL Java_MapHost_seat(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return map_seat();
}

JNIEXPORT void JNICALL Java_MapHost_open(JNIEnv *env, jclass class, jstring path) {
    (void)class;
    const char *text = (*env)->GetStringUTFChars(env, path, NULL);
    CHECK(text);
    map_open(text);
    (*env)->ReleaseStringUTFChars(env, path, text);
}

/* The map's bytes where they are: Java reads them itself. */
JNIEXPORT jobject JNICALL Java_MapHost_buffer(JNIEnv *env, jclass class) {
    (void)class;
    return (*env)->NewDirectByteBuffer(env, (void *)(uintptr_t)map_data(), (jlong)map_len());
}

JNIEXPORT jlong JNICALL Java_MapHost_sum(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return (jlong)map_sum();
}

JNIEXPORT void JNICALL Java_MapHost_refresh(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    map_refresh();
}

JNIEXPORT void JNICALL Java_MapHost_close(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    map_close();
}

JNIEXPORT jstring JNICALL Java_MapHost_status(JNIEnv *env, jclass class) {
    (void)class;
    char text[128];
    map_status(text, sizeof text);
    return (*env)->NewStringUTF(env, text);
}
