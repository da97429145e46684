/* Keeps what a power cut would leave of the files in one directory.

   Preloaded into the service (LD_PRELOAD). When fsync or fdatasync has succeeded on a file, its content at that moment
   is copied to the directory POWER_CUT_DIR. What was written and not synced is not there: it was in the page cache, and
   the page cache is gone. The same goes for names: a new file has none, and a deleted one keeps its own, until the
   directory is synced. A file that is open for writing only cannot be read and is left out. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char DRAFT[] = "draft";
static const char NAMELESS[] = "nameless ";
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int exists(const char *path) { return access(path, F_OK) == 0; }

static void join(char *path, const char *directory, const char *prefix, const char *name) {
  if (snprintf(path, PATH_MAX, "%s/%s%s", directory, prefix, name) >= PATH_MAX) abort();
}

static int copy(int from, const char *path) {
  static char buffer[1 << 16];
  off_t at = 0;
  ssize_t length;
  int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (to < 0) return -1;
  while ((length = pread(from, buffer, sizeof buffer, at)) > 0) {
    if (write(to, buffer, length) != length) break;
    at += length;
  }
  close(to);
  return length == 0 ? 0 : -1;
}

static void keep_content(int descriptor, const char *kept_in, const char *name) {
  char draft[PATH_MAX], kept[PATH_MAX];
  join(draft, kept_in, "", DRAFT);
  join(kept, kept_in, "", name);
  if (!exists(kept)) join(kept, kept_in, NAMELESS, name);
  if (copy(descriptor, draft) == 0) rename(draft, kept);
}

static void keep_names(const char *directory, const char *kept_in) {
  char from[PATH_MAX], to[PATH_MAX], original[PATH_MAX];
  DIR *listing = opendir(kept_in);
  struct dirent *entry;
  if (listing == NULL) return;
  while ((entry = readdir(listing)) != NULL) {
    int is_nameless = strncmp(entry->d_name, NAMELESS, sizeof NAMELESS - 1) == 0;
    const char *name = entry->d_name + (is_nameless ? sizeof NAMELESS - 1 : 0);
    if (name[0] == '.' || strcmp(name, DRAFT) == 0) continue;
    join(original, directory, "", name);
    join(from, kept_in, "", entry->d_name);
    join(to, kept_in, "", name);
    if (!exists(original)) unlink(from);
    else if (is_nameless) rename(from, to);
  }
  closedir(listing);
}

static void keep(int descriptor) {
  const char *kept_in = getenv("POWER_CUT_DIR");
  char link[64], path[PATH_MAX];
  struct stat status;
  if (kept_in == NULL || fstat(descriptor, &status) != 0) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  pthread_mutex_lock(&turn);
  if (S_ISDIR(status.st_mode)) keep_names(path, kept_in);
  else if (S_ISREG(status.st_mode)) keep_content(descriptor, kept_in, strrchr(path, '/') + 1);
  pthread_mutex_unlock(&turn);
}

int fsync(int descriptor) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  int result = real(descriptor);
  if (result == 0) keep(descriptor);
  return result;
}

int fdatasync(int descriptor) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  int result = real(descriptor);
  if (result == 0) keep(descriptor);
  return result;
}
