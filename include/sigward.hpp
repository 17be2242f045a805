// sigward for C++17: the C functions with errors as exceptions or std::error_code, and the thread guard as an object.
//
// Header-only; link libsigward. See sigward.h for what each function promises.
#ifndef SIGWARD_HPP
#define SIGWARD_HPP

#include "sigward.h"

#include <cstddef>
#include <string>
#include <system_error>
#include <vector>

namespace sigward {

// A negative errno as an exception, with sigward's own text of what to do next.
inline void check(int status) {
    if (status < 0) throw std::system_error(-status, std::generic_category(), sigward_strerror(status));
}

// Sets the process's policy: filter SIGPIPE. Idempotent, thread-safe. Throws std::system_error.
inline void init() { check(sigward_init(nullptr)); }

inline void ensure_on_top() { check(sigward_ensure_on_top()); }

// Keeps SIGPIPE from this thread while it lives: for libraries that write by themselves. Guards nest. It must end on
// the thread that it began on, so it can be neither copied nor moved.
class thread_guard {
public:
    thread_guard() { check(sigward_thread_guard_enter(&guard_)); }
    ~thread_guard() { sigward_thread_guard_leave(&guard_); }
    thread_guard(const thread_guard &) = delete;
    thread_guard &operator=(const thread_guard &) = delete;

private:
    sigward_thread_guard guard_;
};

// The bytes written, or an error in `error`; a broken pipe is std::errc::broken_pipe and nothing else.
inline std::size_t write(int fd, const void *data, std::size_t size, std::error_code &error) noexcept {
    const auto status = sigward_write(fd, data, size);
    error = status < 0 ? std::error_code(static_cast<int>(-status), std::generic_category()) : std::error_code();
    return status < 0 ? 0 : static_cast<std::size_t>(status);
}

// The same, throwing std::system_error.
inline std::size_t write(int fd, const void *data, std::size_t size) {
    std::error_code error;
    const auto written = write(fd, data, size, error);
    if (error) throw std::system_error(error, "write");
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

} // namespace sigward

#endif
