Package: sigward
Version: @VERSION@
Architecture: @ARCH@
Maintainer: The sigward developers <sigward@users.noreply.github.com>
Installed-Size: @SIZE@
Depends: libc6 (>= @GLIBC@), libgcc-s1 (>= 4.2)
Section: utils
Priority: optional
Homepage: https://github.com/sigward/sigward
Description: explains deaths by SIGPIPE and SIGBUS, and prevents them
 A write to a broken pipe or socket raises SIGPIPE, and an access to a lost page
 of a mapped file raises SIGBUS. Either signal ends the process, often without a
 message.
 .
 This command reports which process received which signal and why, and looks
 for processes at risk. It replaces files and reserves disk space in ways that
 cause no SIGBUS, and checks append logs.
