"""growing.py PORT: clients add to one small filter at once, and ask for what they were told is in.

RESP is written by hand, so that nothing but python3 is needed."""

import socket
import sys
import threading

PORT, CLIENTS, ITEMS, BATCH = int(sys.argv[1]), 6, 6000, 20
wrong = []


def words(*parts):
    out = b"*%d\r\n" % len(parts)
    for part in parts:
        part = part.encode()
        out += b"$%d\r\n%s\r\n" % (len(part), part)
    return out


def client(n):
    bloom, counts = f"bloom:{n % 2}", f"counts:{n % 2}"
    sock = socket.create_connection(("127.0.0.1", PORT))
    replies = sock.makefile("rb")

    def ask(requests):
        sock.sendall(b"".join(requests))
        return [int(replies.readline()[1:]) for _ in requests]

    for start in range(0, ITEMS, BATCH):
        items = [f"{n}:{i}" for i in range(start, start + BATCH)]
        ask([words("BF.ADD", bloom, i) for i in items] + [words("QF.ADD", counts, i, "3") for i in items])
        for i, there in zip(items, ask([words("BF.EXISTS", bloom, i) for i in items])):
            if there != 1:
                wrong.append(f"{bloom} lost {i}")
        for i, count in zip(items, ask([words("QF.COUNT", counts, i) for i in items])):
            if count < 3:
                wrong.append(f"{counts} has {i} {count} times")
    everything = [f"{n}:{i}" for i in range(ITEMS)]
    for i, there in zip(everything, ask([words("BF.EXISTS", bloom, i) for i in everything])):
        if there != 1:
            wrong.append(f"in the end {bloom} lacks {i}")
    for i, count in zip(everything, ask([words("QF.COUNT", counts, i) for i in everything])):
        if count < 3:
            wrong.append(f"in the end {counts} has {i} {count} times")


def careful(n):
    try:
        client(n)
    except Exception as e:
        wrong.append(f"client {n}: {e!r}")


threads = [threading.Thread(target=careful, args=(n,)) for n in range(CLIENTS)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("\n".join(wrong[:20]))
sys.exit(1 if wrong else 0)
