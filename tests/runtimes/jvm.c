/* The native half of Host.java. Built bare, and with libsigward.a. */
#include "ward.h"

#include <jni.h>
#include <sys/syscall.h>

JNIEXPORT jint JNICALL Java_Host_ward(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return ward();
}

JNIEXPORT jint JNICALL Java_Host_mend(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return mend();
}

/* Twice EPIPE is 64. */
JNIEXPORT jint JNICALL Java_Host_write(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return foreign_write(0) + foreign_write(1);
}

JNIEXPORT jint JNICALL Java_Host_writeHere(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return (jint)(intptr_t)write_to_broken_pipe(NULL);
}

/* One from outside, as `kill -PIPE` would send it. */
JNIEXPORT void JNICALL Java_Host_kill(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    CHECK(kill(getpid(), SIGPIPE) == 0);
}

JNIEXPORT jstring JNICALL Java_Host_tell(JNIEnv *env, jclass class) {
    (void)class;
    char text[256];
    tell(text, sizeof text);
    return (*env)->NewStringUTF(env, text);
}

/* What stands for SIGPIPE, as libc says (libjsig, if there, answers in its place) and as the kernel
 * says: 0 SIG_DFL, 1 SIG_IGN, 2 a handler. */
JNIEXPORT jstring JNICALL Java_Host_table(JNIEnv *env, jclass class) {
    (void)class;
    struct sigaction libc;
    uintptr_t kernel[4];
    char text[64];
    CHECK(sigaction(SIGPIPE, NULL, &libc) == 0);
    CHECK(syscall(SYS_rt_sigaction, SIGPIPE, NULL, kernel, 8) == 0);
    uintptr_t answer = (uintptr_t)libc.sa_handler;
    snprintf(text, sizeof text, "libc %d kernel %d", answer > 1 ? 2 : (int)answer,
             kernel[0] > 1 ? 2 : (int)kernel[0]);
    return (*env)->NewStringUTF(env, text);
}
