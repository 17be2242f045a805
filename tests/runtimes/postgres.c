/* libpq whose server is stopped in the middle of queries, as `pg_ctl stop -m immediate` does: by
 * SIGQUIT. */
#include "ward.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <stdatomic.h>

enum { CLIENTS = 6, WRITERS = 2, WARM = 30 };

static const char *unix_socket, *tcp_port;
static int block;
static atomic_int warm, errors, finished, writes;

static sigset_t mask_now(void) {
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    return mask;
}

static void check_mask(const sigset_t *before) {
    sigset_t now = mask_now(), pending;
    for (int signal = 1; signal < NSIG; signal++)
        CHECK(sigismember(&now, signal) == sigismember(before, signal));
    CHECK(sigpending(&pending) == 0);
    CHECK(!sigismember(&pending, SIGPIPE));
}

/* Waits until the server has started. Every other client comes through TCP. */
static PGconn *client(int number) {
    char settings[512];
    snprintf(settings, sizeof settings, "host=%s port=%s user=test dbname=postgres sslmode=disable",
             number % 2 ? "127.0.0.1" : unix_socket, tcp_port);
    for (int i = 0; i < 6000; i++) {
        PGconn *connection = PQconnectdb(settings);
        if (PQstatus(connection) == CONNECTION_OK) return connection;
        if (i == 5999) fprintf(stderr, "%s\n", PQerrorMessage(connection));
        PQfinish(connection);
        usleep(10000);
    }
    CHECK(!"the server answers");
    return NULL;
}

/* COPY: many writes and no answers, so it meets a connection that is gone. */
static int copy_rows(PGconn *connection) {
    char line[4096];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    PQclear(PQexec(connection, "create temporary table if not exists rows (line text)"));
    PGresult *result = PQexec(connection, "copy rows from stdin");
    int fine = PQresultStatus(result) == PGRES_COPY_IN;
    PQclear(result);
    for (int i = 0; fine && i < 200; i++) fine = PQputCopyData(connection, line, sizeof line) == 1;
    if (fine) fine = PQputCopyEnd(connection, NULL) == 1;
    while ((result = PQgetResult(connection))) {
        fine = fine && PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        if (PQstatus(connection) != CONNECTION_OK) break;
    }
    return fine;
}

static int query(PGconn *connection) {
    PGresult *result = PQexec(connection, "select 1");
    int fine = PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    return fine;
}

static void *use_server(void *number) {
    int me = (int)(intptr_t)number;
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    CHECK(pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &pipe, NULL) == 0);
    before = mask_now();
    PGconn *connection = client(me);
    check_mask(&before);
    int done = 0;
    while (me % 3 == 2 ? copy_rows(connection) : query(connection))
        if (++done == (me % 3 == 2 ? 1 : WARM)) warm++;
    check_mask(&before);
    for (int i = 0; i < 3; i++) CHECK(!query(connection));
    CHECK(PQstatus(connection) == CONNECTION_BAD);
    errors++;
    PQfinish(connection);
    check_mask(&before);
    return NULL;
}

static void *keep_writing(void *unused) {
    while (!finished) {
        CHECK((intptr_t)write_to_broken_pipe(unused) == EPIPE);
        writes++;
        usleep(100);
    }
    return unused;
}

/* libpq's own guard of SIGPIPE: PQprint blocks it while it writes to a pager, here one that ends at
 * once. */
static void page(void) {
    int results = dup(1), terminal = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(results >= 0 && terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    CHECK(other >= 0 && dup2(other, 0) == 0 && dup2(other, 1) == 1);
    setenv("PAGER", "echo pager >&2", 1);
    PGconn *connection = client(0);
    PGresult *result =
        PQexec(connection, "select n, repeat('x', 100) from generate_series(1, 20000) n");
    CHECK(PQntuples(result) == 20000);
    PQprintOpt options = {.header = 1, .align = 1, .pager = 1, .fieldSep = "|"};
    sigset_t before = mask_now();
    PQprint(stdout, result, &options);
    check_mask(&before);
    CHECK(dup2(results, 1) == 1);
    PQclear(result);
    PQfinish(connection);
}

/* postgres SCENARIO SOCKET_FOLDER PORT SERVER_PID; scenarios: quiet, writers, blocked, pager. */
int main(int argc, char **argv) {
    CHECK(argc == 5);
    int with_writers = strcmp(argv[1], "quiet") != 0 && strcmp(argv[1], "pager") != 0;
    block = strcmp(argv[1], "blocked") == 0;
    unix_socket = argv[2], tcp_port = argv[3];
    CHECK(ward() == 0);
    if (strcmp(argv[1], "pager") == 0) {
        page();
        printf("paged\n");
        return 0;
    }
    pthread_t clients[CLIENTS], writers[WRITERS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        CHECK(pthread_create(&clients[i], NULL, use_server, (void *)i) == 0);
    while (warm < CLIENTS) usleep(1000);
    for (int i = 0; with_writers && i < WRITERS; i++)
        CHECK(pthread_create(&writers[i], NULL, keep_writing, NULL) == 0);
    while (with_writers && writes < 10) usleep(1000);
    CHECK(kill((pid_t)atoi(argv[4]), SIGQUIT) == 0);
    for (int i = 0; i < CLIENTS; i++) CHECK(pthread_join(clients[i], NULL) == 0);
    finished = 1;
    for (int i = 0; with_writers && i < WRITERS; i++) CHECK(pthread_join(writers[i], NULL) == 0);
    printf("%d errors\n", errors);
    fflush(stdout);
    CHECK(foreign_write(0) == EPIPE);
    return 0;
}
