#!/usr/bin/env perl
use v5.24;
use warnings;
use experimental 'signatures';

use IO::Select;
use IO::Socket::INET;
use Pod::Usage;
use Getopt::Long;

my %opt = (timeout => 5, parallel => 8, path => '/TIMESTAMP');
GetOptions(\%opt, 'timeout=f', 'parallel=i', 'path=s', 'max-age=i', 'help|?', 'man') or pod2usage(2);
pod2usage(1) if $opt{help};
pod2usage(-exitval => 0, -verbose => 2) if $opt{man};

my @waiting = map { chomp; s/#.*//; s/^\s+|\s+$//g; $_ || () } (@ARGV ? read_lists(@ARGV) : <STDIN>);
my ($select, %pending, %result) = (IO::Select->new);

while (@waiting || %pending) {
    while (@waiting && keys %pending < $opt{parallel}) {
        my $mirror = shift @waiting;
        my ($host, $port) = split /:/, $mirror;
        my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port // 80, Timeout => $opt{timeout});
        unless ($socket) {
            $result{$mirror} = "unreachable: $@";
            next;
        }
        print {$socket} "GET $opt{path} HTTP/1.0\r\nHost: $host\r\nConnection: close\r\n\r\n";
        $pending{ fileno $socket } = { mirror => $mirror, data => '', started => time, socket => $socket };
        $select->add($socket);
    }
    for my $socket ($select->can_read(0.25)) {
        my $entry = $pending{ fileno $socket };
        my $count = sysread $socket, $entry->{data}, 4096, length $entry->{data};
        next if $count;
        finish($socket, judge($entry->{data}));
    }
    for my $entry (values %pending) {
        finish($entry->{socket}, 'timed out') if time - $entry->{started} > $opt{timeout};
    }
}

my $failures = 0;
for my $mirror (sort keys %result) {
    my $fine = $result{$mirror} =~ /^ok/;
    $failures++ unless $fine;
    say join "\t", ($fine ? ' ' : '!'), $mirror, $result{$mirror};
}
exit !!$failures;

sub read_lists (@names) {
    my @lines;
    for my $name (@names) {
        open my $handle, '<:encoding(UTF-8)', $name or die "$0: $name: $!\n";
        push @lines, <$handle>;
    }
    return @lines;
}

sub finish ($socket, $verdict) {
    my $entry = delete $pending{ fileno $socket };
    $select->remove($socket);
    close $socket;
    $result{ $entry->{mirror} } = $verdict;
}

sub judge ($data) {
    my ($head, $body) = split /\r?\n\r?\n/, $data, 2;
    return 'no HTTP' unless $head =~ m{^HTTP/1\.[01] (\d{3}) ?(.*)};
    return "HTTP $1 $2" unless $1 == 200;
    my ($stamp) = ($body // '') =~ /^(\d{9,})/ or return 'no time stamp';
    my $age = time - $stamp;
    return defined $opt{'max-age'} && $age > $opt{'max-age'} ? "old: $age s" : "ok, $age s";
}

__END__

=head1 NAME

mirror-check.pl - which mirrors answer, and how old they are

=head1 OPTIONS

=over 4

=item B<--timeout> SECONDS

How long to wait for one mirror (5).

=item B<--max-age> SECONDS

An older time stamp counts as a failure.

=back
