/* libcurl in several threads, whose server breaks every connection, amid bare writes to broken
 * pipes.
 *
 * Without CURLOPT_NOSIGNAL libcurl puts SIG_IGN into the kernel's table around its calls and puts
 * back what it found (lib/sigpipe.h); two threads that do so at once may put back each other's
 * SIG_IGN. */
#include "ward.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { THREADS = 4, WRITERS = 2, ROUNDS = 250, BODY = 1 << 18 };

static char url[64];
static char body[BODY];
static long no_signal;
static atomic_int finished, failed_posts, writes, wrong_writes;

/* Reads a little of each request and resets the connection. */
static void *serve(void *listener) {
    for (;;) {
        char some[512];
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int connection = accept(*(int *)listener, NULL, NULL);
        CHECK(connection >= 0);
        CHECK(read(connection, some, sizeof some) >= 0);
        CHECK(setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        close(connection);
    }
    return NULL;
}

static void start_server(void) {
    static int listener;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    pthread_t thread;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 64) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    CHECK(pthread_create(&thread, NULL, serve, &listener) == 0);
}

static void *post(void *unused) {
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    CHECK(easy && headers);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)sizeof body);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, no_signal);
    CURLcode code = curl_easy_perform(easy);
    CHECK(code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING);
    failed_posts++;
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    return unused;
}

static void *keep_writing(void *unused) {
    while (!finished) {
        if ((intptr_t)write_to_broken_pipe(unused) != EPIPE) wrong_writes++;
        writes++;
        usleep(50);
    }
    return unused;
}

static struct sigaction pipe_action(void) {
    struct sigaction now;
    CHECK(sigaction(SIGPIPE, NULL, &now) == 0);
    now.sa_flags &= ~0x04000000; /* SA_RESTORER: glibc's own, there once anybody has written */
    return now;
}

/* curl signal|nosignal THREADS writers|quiet */
int main(int argc, char **argv) {
    CHECK(argc == 4);
    no_signal = strcmp(argv[1], "nosignal") == 0;
    int threads = atoi(argv[2]), with_writers = strcmp(argv[3], "writers") == 0;
    CHECK(threads > 0 && threads <= THREADS);
    CHECK(curl_global_init(CURL_GLOBAL_ALL) == 0);
    CHECK(ward() == 0);
    struct sigaction before = pipe_action();
    start_server();
    pthread_t writers[WRITERS], posts[THREADS];
    for (int i = 0; with_writers && i < WRITERS; i++)
        CHECK(pthread_create(&writers[i], NULL, keep_writing, NULL) == 0);
    int lost = 0, still_lost = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < threads; i++) CHECK(pthread_create(&posts[i], NULL, post, NULL) == 0);
        for (int i = 0; i < threads; i++) CHECK(pthread_join(posts[i], NULL) == 0);
        if (pipe_action().sa_handler == before.sa_handler) continue;
        lost++;
        CHECK(pipe_action().sa_handler == SIG_IGN);
        CHECK(mend() == 0);
        if (pipe_action().sa_handler != before.sa_handler) {
            still_lost++;
            CHECK(sigaction(SIGPIPE, &before, NULL) == 0);
        }
    }
    while (with_writers && writes <= ROUNDS)
        usleep(1000); /* on a busy machine the posts may be done first */
    finished = 1;
    for (int i = 0; with_writers && i < WRITERS; i++) CHECK(pthread_join(writers[i], NULL) == 0);
    CHECK(failed_posts == ROUNDS * threads);
    CHECK(wrong_writes == 0);
    CHECK(lost == 0 || threads > 1);
    CHECK(pipe_action().sa_handler == before.sa_handler);
    CHECK(pipe_action().sa_flags == before.sa_flags);
    printf("lost %d, not mended %d, overwritten %d\n", lost, still_lost, (int)overwritten());
    fflush(stdout);
    CHECK(foreign_write(0) == EPIPE);
    return 0;
}
