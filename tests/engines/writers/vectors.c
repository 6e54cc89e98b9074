/* A static writer: writev, pwrite, pwritev, sendfile, copy_file_range, a child process. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char block[9000];

int main(int count, char **arguments) {
    if (count != 2 || chdir(arguments[1])) return 2;
    memset(block, 'b', sizeof block);
    int fd = open("vectors", O_CREAT | O_RDWR, 0644);
    for (int round = 0; round < 4; round++) {
        struct iovec parts[3] = {{"head ", 5}, {block, 4000 + 1000 * (size_t)round}, {"tail\n", 5}};
        if (writev(fd, parts, 3) < 0) return 1;
        if (pwrite(fd, "patch", 5, 100 * round) != 5) return 1;
        if (pwritev(fd, parts, 2, 20000) < 0) return 1;
    }
    int copy = open("copy", O_CREAT | O_WRONLY, 0644);
    off_t from = 0;
    if (sendfile(copy, fd, &from, 9000) != 9000) return 1;
    loff_t source = 100, target = 12000;
    if (copy_file_range(fd, &source, copy, &target, 7000, 0) != 7000) return 1;
    pid_t pid = fork();
    if (pid == 0) {
        int child = open("child", O_CREAT | O_WRONLY, 0600);
        if (write(child, block, 5000) != 5000) _exit(1);
        if (rename("child", "grown") || write(1, "ACK child\n", 10) != 10) _exit(1);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status) return 1;
    return unlink("copy");
}
