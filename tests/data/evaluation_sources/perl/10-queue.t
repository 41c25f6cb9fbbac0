use strict;
use warnings;

use Test::More;
use Test::Exception;
use File::Temp qw(tempdir);
use Time::HiRes qw(sleep);

use_ok 'Queue::Durable';

my $dir = tempdir( CLEANUP => 1 );

subtest 'first in, first out' => sub {
    my $queue = Queue::Durable->new( path => "$dir/fifo", fsync => 0 );
    $queue->push($_) for qw(apple pear plum);
    is $queue->length, 3, 'three waiting';
    is $queue->pop->payload, 'apple', 'the oldest comes first';
    is $queue->pop->payload, 'pear';
    is $queue->length, 1;
};

subtest 'survives a restart' => sub {
    {
        my $queue = Queue::Durable->new( path => "$dir/restart" );
        $queue->push( { id => $_, body => 'x' x ( $_ * 100 ) } ) for 1 .. 50;
        $queue->pop->ack for 1 .. 20;
    }
    my $queue = Queue::Durable->new( path => "$dir/restart" );
    is $queue->length, 30, 'acknowledged ones are gone';
    is_deeply [ map { $_->payload->{id} } $queue->peek(3) ], [ 21, 22, 23 ];
};

subtest 'a torn last record is dropped' => sub {
    my $queue = Queue::Durable->new( path => "$dir/torn" );
    $queue->push('whole');
    undef $queue;
    open my $fh, '>>', "$dir/torn/000001.log" or die $!;
    print {$fh} pack( 'N n', 512, 7 ), 'only a part';
    close $fh;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    $queue = Queue::Durable->new( path => "$dir/torn" );
    is $queue->length, 1;
    like $warnings[0], qr/torn record at byte \d+/, 'and said so';
};

SKIP: {
    skip 'no fork here', 1 unless $Config::Config{d_fork} || $^O eq 'linux';
    my $queue = Queue::Durable->new( path => "$dir/fork" );
    my $child = fork // BAIL_OUT("fork: $!");
    if ( !$child ) { $queue->push("child $_") for 1 .. 100; exit 0 }
    $queue->push("parent $_") for 1 .. 100;
    waitpid $child, 0;
    is $queue->length, 200, 'two writers, nothing lost';
}

throws_ok { Queue::Durable->new } qr/path is required/;
throws_ok { Queue::Durable->new( path => '/proc/nope' ) } 'Queue::Durable::Error';

done_testing;
