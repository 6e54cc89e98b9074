/* Raw system calls: whatever is done to them, the registers and vectors of the caller are left as they were. */
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long raw(long number, long first, const void *second, unsigned long *third) {
    long result;
    unsigned long length = *third;
    __asm__ volatile("syscall" : "=a"(result), "+d"(length) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    *third = length;
    return result;
}

int main(int count, char **arguments) {
    if (count != 2 || chdir(arguments[1])) return 2;
    int fd = open("raw", O_CREAT | O_WRONLY, 0644);
    unsigned long length = 10;
    if (raw(SYS_write, fd, "0123456789", &length) <= 0 || length != 10) return 3;
    struct iovec parts[2] = {{"abcd", 4}, {"efgh", 4}};
    length = 2;
    if (raw(SYS_writev, fd, parts, &length) <= 0 || length != 2) return 4;
    return parts[0].iov_len == 4 && parts[1].iov_len == 4 ? 0 : 5;
}
