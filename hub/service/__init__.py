"""What the hub and whoever runs it as a service say to each other: systemd, or what speaks so.

The hub says how it is by datagrams (sd_notify(3)): that it serves, that it reads its settings anew,
that it stops, with how many connections, and that it is alive. It is given the sockets that it
listens on (sd_listen_fds(3)), so that they are there while the hub is not. Where nobody runs it so,
all of this is nothing.
"""
