// sigward for C++17: the C functions with errors as exceptions or std::error_code, thread guards
// and guarded maps as objects.
//
// Header-only; link libsigward. See sigward.h for what each function promises.
#ifndef SIGWARD_HPP
#define SIGWARD_HPP

#include "sigward.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sigward {

// Ends what cannot be an error code. Without exceptions (-fno-exceptions) the process is aborted,
// after one line on stderr: call the functions that take a std::error_code, or those of sigward.h.
[[noreturn]] inline void fail(std::error_code error, const char *what) {
#if defined(__cpp_exceptions)
    throw std::system_error(error, what);
#else
    std::fprintf(stderr, "sigward: %s: %s\n", what, error.message().c_str());
    std::abort();
#endif
}

// A negative errno as an exception, with sigward's own text of what to do next.
inline void check(int status) {
    if (status < 0)
        fail(std::error_code(-status, std::generic_category()), sigward_strerror(status));
}

// Sets the process's policy: filter SIGPIPE. Idempotent, thread-safe. Throws std::system_error.
inline void init() { check(sigward_init(nullptr)); }

inline void ensure_on_top() { check(sigward_ensure_on_top()); }

// Keeps SIGPIPE from this thread while it lives: for libraries that write by themselves. Guards
// nest. It must end on the thread that it began on, so it can be neither copied nor moved.
class thread_guard {
public:
    thread_guard() { check(sigward_thread_guard_enter(&guard_)); }
    ~thread_guard() { sigward_thread_guard_leave(&guard_); }
    thread_guard(const thread_guard &) = delete;
    thread_guard &operator=(const thread_guard &) = delete;

private:
    sigward_thread_guard guard_;
};

// The bytes written, or an error in `error`; a broken pipe is std::errc::broken_pipe and nothing
// else.
inline std::size_t write(int fd, const void *data, std::size_t size,
                         std::error_code &error) noexcept {
    const auto status = sigward_write(fd, data, size);
    error = status < 0 ? std::error_code(static_cast<int>(-status), std::generic_category())
                       : std::error_code();
    return status < 0 ? 0 : static_cast<std::size_t>(status);
}

// The same, throwing std::system_error.
inline std::size_t write(int fd, const void *data, std::size_t size) {
    std::error_code error;
    const auto written = write(fd, data, size, error);
    if (error) fail(error, "write");
    return written;
}

inline sigward_counters counters() {
    sigward_counters values;
    check(sigward_read_counters(&values));
    return values;
}

// Events after `cursor`, oldest first; moves the cursor on. Start with 0.
inline std::vector<sigward_event> read_events(std::uint64_t &cursor, std::size_t most = 64) {
    std::vector<sigward_event> events(most);
    const auto count = sigward_read_events(&cursor, events.data(), events.size());
    check(count < 0 ? static_cast<int>(count) : 0);
    events.resize(static_cast<std::size_t>(count));
    return events;
}

// One line for a log.
inline std::string to_string(const sigward_event &event) {
    char text[512];
    const auto length = sigward_event_format(&event, text, sizeof text);
    return length < 0 ? std::string() : std::string(text, static_cast<std::size_t>(length));
}

// A mapped file whose loss is an error: closed with the object, moved but not copied. What its
// functions promise stands at sigward_map_… in sigward.h. A map that was moved from or closed may
// be assigned to, destroyed, asked for its size (0), and nothing else.
class map {
public:
    // Maps the file at `path`, all of it for reading unless `options` says otherwise (size is
    // filled in). Throws std::system_error.
    explicit map(const std::string &path, sigward_map_options options = {}) {
        options.size = sizeof options;
        check(sigward_map_open(path.c_str(), &options, &map_));
    }
    // The file of an open descriptor, of which a duplicate is kept.
    explicit map(int fd, sigward_map_options options = {}) {
        options.size = sizeof options;
        check(sigward_map_fd(fd, &options, &map_));
    }
    // The bytes of the file at `path` as they are now, whatever happens to it later; `report` hears
    // what that costs.
    static map snapshot(const std::string &path, sigward_snapshot_options options = {},
                        sigward_snapshot_report *report = nullptr) {
        sigward_map *taken = nullptr;
        options.size = sizeof options;
        check(sigward_snapshot_with(path.c_str(), &options, &taken, report));
        return map(taken);
    }
    map(map &&other) noexcept : map_(std::exchange(other.map_, nullptr)) {}
    map &operator=(map &&other) noexcept {
        std::swap(map_, other.map_);
        return *this;
    }
    map(const map &) = delete;
    map &operator=(const map &) = delete;
    ~map() {
        if (map_ != nullptr) sigward_map_close(map_);
    }

    // Closes it now, to hear of an error.
    void close() {
        if (map_ != nullptr) check(sigward_map_close(std::exchange(map_, nullptr)));
    }

    // The bytes where they are. What was read there counts if is_intact() says so afterwards.
    const unsigned char *data() const noexcept {
        return static_cast<const unsigned char *>(sigward_map_data(map_));
    }
    std::size_t size() const noexcept { return map_ == nullptr ? 0 : sigward_map_len(map_); }
    // Whether nothing before `end`, an offset in bytes, is lost.
    bool is_intact(std::size_t end = SIZE_MAX) const noexcept {
        return __atomic_load_n(sigward_map_poison_word(map_), __ATOMIC_ACQUIRE) >= end;
    }

    // The bytes copied: fewer at the end and where the rest is lost. std::errc::bad_address: the
    // first byte is lost.
    std::size_t read_at(std::uint64_t offset, void *data, std::size_t size,
                        std::error_code &error) const noexcept {
        return counted(sigward_map_read_at(map_, offset, data, size), error);
    }
    // The same, throwing std::system_error.
    std::size_t read_at(std::uint64_t offset, void *data, std::size_t size) const {
        std::error_code error;
        const auto count = read_at(offset, data, size, error);
        if (error) fail(error, "read_at");
        return count;
    }
    // The bytes that reached the file, or the cause of the loss: std::errc::no_space_on_device,
    // bad_address, …
    std::size_t write_at(std::uint64_t offset, const void *data, std::size_t size,
                         std::error_code &error) noexcept {
        return counted(sigward_map_write_at(map_, offset, data, size), error);
    }
    // The same, throwing std::system_error.
    std::size_t write_at(std::uint64_t offset, const void *data, std::size_t size) {
        std::error_code error;
        const auto count = write_at(offset, data, size, error);
        if (error) fail(error, "write_at");
        return count;
    }

    // The fault with the lowest lost offset, or nothing while nothing is lost.
    std::optional<sigward_fault> status() const {
        sigward_fault fault;
        const auto status = sigward_map_status(map_, &fault);
        check(status);
        return status == 0 ? std::nullopt : std::optional<sigward_fault>(fault);
    }

    // These throw std::system_error as sigward.h says.
    void verify() const { check(sigward_map_verify(map_)); }
    void refresh() { check(sigward_map_refresh(map_)); }
    void populate(std::uint64_t offset, std::uint64_t size) const {
        check(sigward_map_populate(map_, offset, size));
    }
    void flush() { check(sigward_map_flush(map_)); }
    // In place up to capacity(); beyond, the map moves, and what was there stays until the map is
    // closed.
    void grow(std::uint64_t size) { check(sigward_map_grow(map_, size)); }
    // Takes over the file's length, up to capacity().
    void follow() { check(sigward_map_follow(map_)); }
    std::uint64_t capacity() const noexcept {
        return map_ == nullptr ? 0 : sigward_map_capacity(map_);
    }

private:
    explicit map(sigward_map *taken) noexcept : map_(taken) {}
    static std::size_t counted(ssize_t status, std::error_code &error) noexcept {
        error = status < 0 ? std::error_code(static_cast<int>(-status), std::generic_category())
                           : std::error_code();
        return status < 0 ? 0 : static_cast<std::size_t>(status);
    }
    sigward_map *map_ = nullptr;
};

// Mappings of a file that somebody else made and goes on to own, guarded: see sigward_adopt_file.
class adopted {
public:
    // Every mapping of the file at `path`, made before or after. Throws std::system_error.
    explicit adopted(const std::string &path) {
        check(sigward_adopt_file(path.c_str(), &adopted_));
    }
    // One mapping; fd may be -1. Throws std::system_error.
    adopted(const void *address, std::size_t size, int fd, off_t offset) {
        check(sigward_adopt_range(address, size, fd, offset, &adopted_));
    }
    adopted(adopted &&other) noexcept : adopted_(std::exchange(other.adopted_, nullptr)) {}
    adopted &operator=(adopted &&other) noexcept {
        std::swap(adopted_, other.adopted_);
        return *this;
    }
    adopted(const adopted &) = delete;
    adopted &operator=(const adopted &) = delete;
    ~adopted() {
        if (adopted_ != nullptr) sigward_adopted_close(adopted_);
    }

    // The loss at the lowest offset in the file, or nothing; take() forgets it.
    std::optional<sigward_fault> status() const {
        sigward_fault fault;
        return answered(sigward_adopted_status(adopted_, &fault), fault);
    }
    std::optional<sigward_fault> take() {
        sigward_fault fault;
        return answered(sigward_adopted_take(adopted_, &fault), fault);
    }
    // These throw std::system_error as sigward.h says.
    void verify() const { check(sigward_adopted_verify(adopted_)); }
    void heal() { check(sigward_adopted_heal(adopted_)); }
    void sink(std::uint64_t bytes) { check(sigward_adopted_sink(adopted_, bytes)); }

private:
    static std::optional<sigward_fault> answered(int status, const sigward_fault &fault) {
        check(status);
        return status == 0 ? std::nullopt : std::optional<sigward_fault>(fault);
    }
    sigward_adopted *adopted_ = nullptr;
};

} // namespace sigward

#endif
