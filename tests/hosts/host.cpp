// A C++ host: exceptions on foreign threads, the guard across one, and the policy. Built bare with -DBARE.
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <unistd.h>

#ifndef BARE
#include <sigward.hpp>
#endif

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            std::fprintf(stderr, "%d: %s\n", __LINE__, #condition);                                          \
            std::_Exit(99);                                                                                  \
        }                                                                                                    \
    } while (0)

static int broken_pipe() {
    int ends[2];
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    return ends[1];
}

int main() {
#ifdef BARE
    std::thread([] { CHECK(::write(broken_pipe(), "x", 1) == -1 && errno == EPIPE); }).join();
#else
    const int fd = broken_pipe();
    // Quiet without any policy: the constructor's is taken back first.
    CHECK(sigward_sigpipe_restore() == 0);
    std::error_code error;
    CHECK(sigward::write(fd, "x", 1, error) == 0 && error == std::errc::broken_pipe);
    try {
        sigward::write(fd, "x", 1);
        CHECK(false);
    } catch (const std::system_error &caught) {
        CHECK(caught.code() == std::errc::broken_pipe);
    }
    // A guard across an exception: nothing is left pending, and the mask is as before.
    try {
        sigward::thread_guard guard;
        CHECK(::write(fd, "x", 1) == -1 && errno == EPIPE);
        throw std::runtime_error("on purpose");
    } catch (const std::runtime_error &) {
        sigset_t set;
        CHECK(sigpending(&set) == 0 && sigismember(&set, SIGPIPE) == 0);
        CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &set) == 0 && sigismember(&set, SIGPIPE) == 0);
    }
    sigward::init();
    std::thread([fd] { CHECK(::write(fd, "x", 1) == -1 && errno == EPIPE); }).join();
    std::uint64_t cursor = 0;
    const auto events = sigward::read_events(cursor);
    CHECK(events.size() == 1 && sigward::to_string(events[0]).find("SIGPIPE swallowed") == 0);
    CHECK(sigward::counters().swallowed == 1);
    sigward::ensure_on_top();
    try {
        sigward::check(-EDEADLK);
        CHECK(false);
    } catch (const std::system_error &caught) {
        CHECK(caught.code() == std::errc::resource_deadlock_would_occur);
    }
#endif
    std::puts("lived");
}
