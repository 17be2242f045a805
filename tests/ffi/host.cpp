// A C++ host: exceptions on foreign threads, the guard across one, the policy, and a map. Built
// bare with -DBARE.
//
// host [map]
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#ifndef BARE
#include <sigward.hpp>
#endif

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%d: %s\n", __LINE__, #condition);                                \
            std::_Exit(99);                                                                        \
        }                                                                                          \
    } while (0)

static int broken_pipe() {
    int ends[2];
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    return ends[1];
}

// Three pages of ones, gone when the process ends.
static int make_file() {
    const std::string ones(3 * 4096, 1);
    const int fd = memfd_create("map", MFD_CLOEXEC);
    CHECK(fd >= 0 && ::write(fd, ones.data(), ones.size()) == static_cast<ssize_t>(ones.size()));
    return fd;
}

#ifdef BARE
static void maps() {
    const int fd = make_file();
    void *data = mmap(nullptr, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(data != MAP_FAILED && ftruncate(fd, 5000) == 0);
    CHECK(static_cast<volatile char *>(data)[3 * 4096 - 1] == 0);
}
#else
template <class Function> static std::error_code thrown(Function function) {
    try {
        function();
    } catch (const std::system_error &caught) {
        return caught.code();
    }
    return {};
}

static void maps() {
    static_assert(std::is_nothrow_move_constructible_v<sigward::map> &&
                  !std::is_copy_constructible_v<sigward::map>);
    const int fd = make_file();
    CHECK(thrown([] { sigward::map(std::string("/nowhere/at/all")); }) ==
          std::errc::no_such_file_or_directory);
    CHECK(thrown([] { sigward::map(-1); }) == std::errc::bad_file_descriptor);
    CHECK(thrown([] { sigward::adopted(nullptr, 0, -1, 0); }) == std::errc::invalid_argument);
    sigward_map_options options = {};
    options.offset = 10;
    options.writable = 1;
    sigward::map map(fd, options);
    CHECK(map.size() == 3 * 4096 - 10 && map.data()[0] == 1 && !map.status() && map.is_intact());
    unsigned char two = 2, bytes[64];
    CHECK(map.write_at(0, &two, 1) == 1 && map.read_at(0, bytes, sizeof bytes) == sizeof bytes &&
          bytes[0] == 2);
    map.flush();
    map.verify();
    map.populate(0, map.size());
    CHECK(ftruncate(fd, 5000) == 0);
    // Through the pointer, with the check afterwards.
    CHECK(map.data()[map.size() - 1] == 0 && !map.is_intact() && map.is_intact(4990) &&
          !map.is_intact(4991));
    const auto fault = map.status();
    CHECK(fault && fault->offset == 4990 && fault->len_now == 5000 &&
          fault->cause == SIGWARD_CAUSE_TRUNCATED);
    // Up to the lost byte, and at it.
    CHECK(map.read_at(4980, bytes, sizeof bytes) == 10);
    CHECK(thrown([&] { map.read_at(4990, bytes, 1); }) == std::errc::bad_address);
    CHECK(thrown([&] { map.write_at(4990, bytes, 1); }) == std::errc::bad_address);
    CHECK(thrown([&] { map.flush(); }) == std::errc::bad_address);
    CHECK(thrown([&] { map.verify(); }) == std::errc::bad_address);
    // Moved: the empty one is asked for nothing but its size.
    sigward::map other = std::move(map);
    CHECK(map.size() == 0 && other.size() == 3 * 4096 - 10);
    CHECK(ftruncate(fd, 4096) == 0);
    other.refresh();
    CHECK(other.size() == 4086 && other.is_intact() && other.read_at(4086, bytes, 1) == 0);
    other.close();
    other.close();
    CHECK(other.size() == 0 && sigward::counters().maps == 0);
    // One that somebody else made stays theirs.
    void *theirs = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(theirs != MAP_FAILED);
    {
        sigward::adopted adopted(theirs, 4096, fd, 0);
        CHECK(!adopted.status() && !adopted.take() && sigward::counters().maps == 1);
        adopted.verify();
        sigward::adopted moved = std::move(adopted);
        moved.heal();
    }
    CHECK(sigward::counters().maps == 0);
    CHECK(static_cast<unsigned char *>(theirs)[10] == 2 && munmap(theirs, 4096) == 0);
    close(fd);
    // A snapshot knows nothing of what becomes of the file.
    sigward_snapshot_report report;
    other = sigward::map::snapshot("/proc/version", {}, &report);
    CHECK(other.size() > 10 && std::memcmp(other.data(), "Linux", 5) == 0 && report.memory > 0 &&
          other.is_intact());
    CHECK(thrown([] { sigward::map::snapshot("/missing"); }) ==
          std::errc::no_such_file_or_directory);
}
#endif

int main(int argc, char **argv) {
    if (argc > 1 && std::strcmp(argv[1], "map") == 0) {
        maps();
        std::puts("lived");
        return 0;
    }
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
