#!/bin/sh
# Runs in the Dockerfile, once: takes out of a Debian what installs software, changes users or mounts, and what is
# only read by people. A shell and coreutils stay, for whoever looks around in a pod; podgate calls neither.
set -eu

# What dpkg knows stays known for what remains: scanners read it.
for pattern in apt libapt-pkg* sqv debconf perl-base passwd login login.defs mount util-linux bsdutils e2fsprogs \
    logsave bash diffutils tar ncurses-bin python3-pip-whl python3-setuptools-whl; do
    dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' "$pattern" 2>/dev/null || true
done | sed -n 's/ installed$//p' >/tmp/leaving

find / -xdev -type f -perm /6000 -exec chmod ug-s '{}' +
# The licences have to stay.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -type d -empty -delete
rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian /usr/share/bug /usr/share/bash-completion
for library in /usr/lib/python3.* /usr/local/lib/python3.*; do
    rm -rf "$library/ensurepip" "$library/idlelib" "$library/lib2to3" "$library/pydoc_data" "$library/test" \
        "$library/tkinter" "$library/turtledemo" "$library"/site-packages/pip "$library"/site-packages/pip-*
done
rm -f /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/pydoc*

# shellcheck disable=SC2046  # one package a line
dpkg --purge --force-depends --force-remove-essential --force-remove-protected $(cat /tmp/leaving) >/dev/null
rm -rf /etc/apt /var/lib/apt /var/cache/* /var/log/* /tmp/*
