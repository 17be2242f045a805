Package: sigward
Version: @VERSION@
Architecture: @ARCH@
Maintainer: The sigward developers <sigward@users.noreply.github.com>
Installed-Size: @SIZE@
Depends: libc6 (>= @GLIBC@), libgcc-s1 (>= 4.2)
Section: utils
Priority: optional
Homepage: https://github.com/sigward/sigward
Description: explains deaths by SIGPIPE and SIGBUS, keeps files whole
 A write to a broken pipe or socket raises SIGPIPE, and a lost page of a mapped
 file raises SIGBUS: either ends a process, often without a word.
 .
 This command says who died of what and why, and replaces files, reserves
 space and checks append logs so that it does not happen.
