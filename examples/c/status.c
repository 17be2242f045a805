#include <stdio.h>

#include <sigward.h>

static void say(const char *signal, const sigward_standing *standing) {
    if (standing->armed)
        printf("%s: armed\n", signal);
    else
        printf("%s: not armed: %s\n", signal, sigward_reason_text(standing->reason));
}

int main(void) {
    sigward_status_report report;
    sigward_init(NULL);
    if (sigward_status(&report) != 0) return 1;
    say("SIGPIPE", &report.sigpipe);
    say("SIGBUS", &report.sigbus);
    return 0;
}
