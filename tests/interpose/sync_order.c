/* Writes down, for the tests of durability, what a process does to its files and what it answers.
 *
 * Loaded into every process of a cluster by LD_PRELOAD. Each call on a file below the data folder and
 * each write on a socket of the internet becomes one line of the file <pid> in the trace folder:
 *
 *   start end pid tid kind ok synced inode path extra        (separated by tabs)
 *
 * start and end are CLOCK_MONOTONIC in nanoseconds, before and after the call; kind is write, sync,
 * create, rename, unlink or send; synced says that the descriptor is O_DSYNC or O_SYNC, so that the
 * write itself is synced. extra is the new path of a rename, and of a send the two ports and the
 * HTTP/2 frames in it: "local peer type.flags,type.flags". Stores into a mapping are not seen.
 *
 * Environment:
 *   VECTORSPHERE_TEST_TRACE   the trace folder; without it nothing is done
 *   VECTORSPHERE_TEST_FOLDER  the data folder, without symbolic links in its path
 *   VECTORSPHERE_TEST_EIO     a file; while it is there, fsync, fdatasync and msync fail with EIO on
 *                             paths that contain its first line. With a second line "meta" these do
 *                             their work, and writes to O_DSYNC descriptors fail instead, as the
 *                             kernel's do: the page cache has the bytes.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PATHS 1024
#define FRAMES_MAX 32

static int trace_fd = -1;
static char below[PATHS];
static char eio[PATHS];

#define REAL(result, name, ...)                                                                    \
  static result (*real)(__VA_ARGS__);                                                              \
  if (!real)                                                                                       \
    real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
  const char *trace = getenv("VECTORSPHERE_TEST_TRACE");
  const char *folder = getenv("VECTORSPHERE_TEST_FOLDER");
  const char *failing = getenv("VECTORSPHERE_TEST_EIO");
  if (!trace || !folder)
    return;
  char path[PATHS];
  snprintf(below, sizeof below, "%s", folder);
  snprintf(eio, sizeof eio, "%s", failing ? failing : "");
  snprintf(path, sizeof path, "%s/%d", trace, (int)getpid());
  trace_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int64_t now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void say(const char *kind, int64_t start, int ok, int synced, uint64_t inode, const char *path,
                const char *extra) {
  int before = errno;
  int64_t end = now();
  char line[2 * PATHS + 512];
  int len = snprintf(line, sizeof line, "%lld\t%lld\t%d\t%d\t%s\t%d\t%d\t%llu\t%s\t%s\n",
                     (long long)start, (long long)end, (int)getpid(), (int)syscall(SYS_gettid), kind, ok,
                     synced, (unsigned long long)inode, path, extra);
  if (len > 0 && (size_t)len < sizeof line)
    syscall(SYS_write, trace_fd, line, (size_t)len);
  errno = before;
}

static int is_below(const char *path) {
  size_t len = strlen(below);
  return strncmp(path, below, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* What a descriptor is. */
enum what { OTHER, FILE_BELOW, SOCKET };
struct about {
  enum what what;
  int synced;
  uint64_t inode;
  char path[PATHS];
};

static void look(int fd, struct about *about) {
  int before = errno;
  char link[64];
  about->what = OTHER;
  about->synced = 0;
  about->inode = 0;
  if (trace_fd < 0)
    return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, about->path, sizeof about->path - 1);
  about->path[len < 0 ? 0 : len] = '\0';
  if (strncmp(about->path, "socket:", 7) == 0) {
    about->what = SOCKET;
  } else if (is_below(about->path)) {
    struct stat stat;
    int flags = fcntl(fd, F_GETFL);
    about->what = FILE_BELOW;
    about->synced = flags >= 0 && (flags & (O_DSYNC | O_SYNC)) != 0;
    about->inode = fstat(fd, &stat) == 0 ? (uint64_t)stat.st_ino : 0;
  }
  errno = before;
}

/* Whether the failure is switched on for this path; `meta` asks for the one of synced writes. */
static int fails(const char *path, int meta) {
  int before = errno;
  char text[PATHS] = "";
  int failing = 0;
  int fd = eio[0] ? (int)syscall(SYS_openat, AT_FDCWD, eio, O_RDONLY | O_CLOEXEC) : -1;
  if (fd >= 0) {
    ssize_t len = syscall(SYS_read, fd, text, sizeof text - 1);
    text[len < 0 ? 0 : len] = '\0';
    syscall(SYS_close, fd);
    char *second = strchr(text, '\n');
    if (second)
      *second++ = '\0';
    int is_meta = second && strncmp(second, "meta", 4) == 0;
    failing = text[0] && is_meta == meta && strstr(path, text) != NULL;
  }
  errno = before;
  return failing;
}

/* The HTTP/2 frames of what is sent, told as type.flags; it begins with a frame, or is told wrongly. */
static void frames(const struct iovec *iov, int count, char *into, size_t room) {
  size_t total = 0, at = 0, used = strlen(into);
  for (int i = 0; i < count; i++)
    total += iov[i].iov_len;
  for (int told = 0; told < FRAMES_MAX && at + 9 <= total && used + 16 < room; told++) {
    unsigned char head[9];
    for (size_t i = 0; i < 9; i++) {
      size_t byte = at + i;
      int part = 0;
      while (byte >= iov[part].iov_len)
        byte -= iov[part++].iov_len;
      head[i] = ((const unsigned char *)iov[part].iov_base)[byte];
    }
    used += (size_t)snprintf(into + used, room - used, "%s%u.%u", told ? "," : "", head[3], head[4]);
    at += 9 + ((size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2]);
  }
}

static int port(int fd, int (*name)(int, struct sockaddr *, socklen_t *)) {
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  if (name(fd, (struct sockaddr *)&address, &len) != 0)
    return -1;
  if (address.ss_family == AF_INET)
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
  if (address.ss_family == AF_INET6)
    return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
  return -1;
}

static void tell_sent(int fd, const struct about *about, int64_t start, int ok, const struct iovec *iov,
                      int count) {
  int before = errno;
  char extra[512];
  int local = port(fd, getsockname);
  if (local >= 0) {
    snprintf(extra, sizeof extra, "%d %d ", local, port(fd, getpeername));
    frames(iov, count, extra, sizeof extra);
    say("send", start, ok, 0, 0, about->path, extra);
  }
  errno = before;
}

/* Carries out a write of any kind between a look at the descriptor and a line about it. */
#define AROUND(type, fd, iov, count, call)                                                         \
  struct about about;                                                                              \
  look(fd, &about);                                                                                \
  int64_t start = now();                                                                           \
  type done = call;                                                                                \
  if (about.what == FILE_BELOW) {                                                                  \
    if (about.synced && done >= 0 && fails(about.path, 1)) {                                       \
      done = -1;                                                                                   \
      errno = EIO;                                                                                 \
    }                                                                                              \
    say("write", start, done >= 0, about.synced, about.inode, about.path, "");                     \
  } else if (about.what == SOCKET) {                                                               \
    tell_sent(fd, &about, start, done >= 0, iov, count);                                           \
  }                                                                                                \
  return done

#define ONE(bytes, len)                                                                            \
  struct iovec one = {.iov_base = (void *)(uintptr_t)(bytes), .iov_len = (len)}

ssize_t write(int fd, const void *bytes, size_t len) {
  REAL(ssize_t, write, int, const void *, size_t);
  ONE(bytes, len);
  AROUND(ssize_t, fd, &one, 1, real(fd, bytes, len));
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
  REAL(ssize_t, writev, int, const struct iovec *, int);
  AROUND(ssize_t, fd, iov, count, real(fd, iov, count));
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
  REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
  ONE(bytes, len);
  AROUND(ssize_t, fd, &one, 1, real(fd, bytes, len, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
  REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
  ONE(bytes, len);
  AROUND(ssize_t, fd, &one, 1, real(fd, bytes, len, at));
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at) {
  REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
  AROUND(ssize_t, fd, iov, count, real(fd, iov, count, at));
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at) {
  REAL(ssize_t, pwritev64, int, const struct iovec *, int, off64_t);
  AROUND(ssize_t, fd, iov, count, real(fd, iov, count, at));
}

ssize_t copy_file_range(int from, off64_t *from_at, int fd, off64_t *at, size_t len, unsigned flags) {
  REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
  AROUND(ssize_t, fd, NULL, 0, real(from, from_at, fd, at, len, flags));
}

int ftruncate(int fd, off_t len) {
  REAL(int, ftruncate, int, off_t);
  AROUND(int, fd, NULL, 0, real(fd, len));
}

int ftruncate64(int fd, off64_t len) {
  REAL(int, ftruncate64, int, off64_t);
  AROUND(int, fd, NULL, 0, real(fd, len));
}

ssize_t send(int fd, const void *bytes, size_t len, int flags) {
  REAL(ssize_t, send, int, const void *, size_t, int);
  ONE(bytes, len);
  AROUND(ssize_t, fd, &one, 1, real(fd, bytes, len, flags));
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to, socklen_t size) {
  REAL(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *, socklen_t);
  ONE(bytes, len);
  AROUND(ssize_t, fd, &one, 1, real(fd, bytes, len, flags, to, size));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
  AROUND(ssize_t, fd, message->msg_iov, (int)message->msg_iovlen, real(fd, message, flags));
}

/* A sync that fails on purpose does not reach the disk at all. */
#define SYNCED(path, inode, traced, call)                                                          \
  int64_t start = now();                                                                           \
  int done;                                                                                        \
  if ((traced) && fails(path, 0)) {                                                                \
    done = -1;                                                                                     \
    errno = EIO;                                                                                   \
  } else {                                                                                         \
    done = call;                                                                                   \
  }                                                                                                \
  if (traced)                                                                                      \
    say("sync", start, done == 0, 0, inode, path, "");                                             \
  return done

int fsync(int fd) {
  REAL(int, fsync, int);
  struct about about;
  look(fd, &about);
  SYNCED(about.path, about.inode, about.what == FILE_BELOW, real(fd));
}

int fdatasync(int fd) {
  REAL(int, fdatasync, int);
  struct about about;
  look(fd, &about);
  SYNCED(about.path, about.inode, about.what == FILE_BELOW, real(fd));
}

int msync(void *address, size_t len, int flags) {
  REAL(int, msync, void *, size_t, int);
  int before = errno;
  char line[PATHS + 128], path[PATHS] = "";
  unsigned long long inode = 0;
  FILE *maps = trace_fd >= 0 && (flags & MS_SYNC) ? fopen("/proc/self/maps", "re") : NULL;
  while (maps && fgets(line, sizeof line, maps)) {
    unsigned long long from, to;
    char name[PATHS] = "";
    unsigned long long of = 0;
    sscanf(line, "%llx-%llx %*s %*s %*s %llu %1023[^\n]", &from, &to, &of, name);
    if (from <= (uintptr_t)address && (uintptr_t)address < to) {
      snprintf(path, sizeof path, "%s", name);
      inode = of;
    }
  }
  if (maps)
    fclose(maps);
  errno = before;
  SYNCED(path, inode, path[0] == '/' && is_below(path), real(address, len, flags));
}

/* The whole path of a name, resolved but for its last part. */
static int whole(int folder, const char *name, char *into) {
  char link[64], above[PATHS], real[PATH_MAX];
  int before = errno;
  into[0] = '\0';
  if (trace_fd < 0 || !name)
    return 0;
  if (name[0] == '/') {
    snprintf(above, sizeof above, "%s", name);
  } else {
    if (folder == AT_FDCWD)
      snprintf(link, sizeof link, "/proc/self/cwd");
    else
      snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t len = readlink(link, above, sizeof above - 1);
    if (len < 0)
      len = 0;
    snprintf(above + len, sizeof above - (size_t)len, "/%s", name);
  }
  for (size_t len = strlen(above); len > 1 && above[len - 1] == '/'; len--)
    above[len - 1] = '\0';
  char *last = strrchr(above, '/');
  if (last && last != above) {
    *last++ = '\0';
    if (realpath(above, real) && strlen(real) + strlen(last) + 2 <= PATHS) {
      strcpy(into, real);
      strcat(into, "/");
      strcat(into, last);
    }
  }
  errno = before;
  return is_below(into);
}

static uint64_t inode_of(const char *path) {
  int before = errno;
  struct stat stat;
  uint64_t inode = lstat(path, &stat) == 0 ? (uint64_t)stat.st_ino : 0;
  errno = before;
  return inode;
}

/* A name that was not there before the call is a new one. */
#define OPENED(folder, name, call)                                                                 \
  char path[PATHS];                                                                                \
  int is_new = (flags & O_CREAT) != 0 && whole(folder, name, path) && inode_of(path) == 0;         \
  int64_t start = now();                                                                           \
  int done = call;                                                                                 \
  if (is_new && done >= 0)                                                                         \
    say("create", start, 1, 0, inode_of(path), path, "");                                          \
  return done

#define MODE(flags)                                                                                \
  mode_t mode = 0;                                                                                 \
  if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) {                            \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    mode = va_arg(more, mode_t);                                                                   \
    va_end(more);                                                                                  \
  }

int open(const char *name, int flags, ...) {
  REAL(int, open, const char *, int, ...);
  MODE(flags)
  OPENED(AT_FDCWD, name, real(name, flags, mode));
}

int open64(const char *name, int flags, ...) {
  REAL(int, open64, const char *, int, ...);
  MODE(flags)
  OPENED(AT_FDCWD, name, real(name, flags, mode));
}

int openat(int folder, const char *name, int flags, ...) {
  REAL(int, openat, int, const char *, int, ...);
  MODE(flags)
  OPENED(folder, name, real(folder, name, flags, mode));
}

int openat64(int folder, const char *name, int flags, ...) {
  REAL(int, openat64, int, const char *, int, ...);
  MODE(flags)
  OPENED(folder, name, real(folder, name, flags, mode));
}

int mkdirat(int folder, const char *name, mode_t mode) {
  REAL(int, mkdirat, int, const char *, mode_t);
  char path[PATHS];
  int traced = whole(folder, name, path);
  int64_t start = now();
  int done = real(folder, name, mode);
  if (traced && done == 0)
    say("create", start, 1, 0, inode_of(path), path, "");
  return done;
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
  REAL(int, renameat2, int, const char *, int, const char *, unsigned);
  char before[PATHS], after[PATHS];
  int traced = whole(from, old, before);
  traced = whole(to, new, after) || traced;
  uint64_t inode = traced ? inode_of(before) : 0;
  int64_t start = now();
  int done = real(from, old, to, new, flags);
  if (traced)
    say("rename", start, done == 0, 0, inode, before, after);
  return done;
}

int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }

int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int folder, const char *name, int flags) {
  REAL(int, unlinkat, int, const char *, int);
  char path[PATHS];
  int traced = whole(folder, name, path);
  uint64_t inode = traced ? inode_of(path) : 0;
  int64_t start = now();
  int done = real(folder, name, flags);
  if (traced && done == 0)
    say("unlink", start, 1, 0, inode, path, "");
  return done;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
