#!/usr/bin/perl
use strict;
use warnings;
use File::Basename;
use File::Copy qw(move);
use Image::ExifTool qw(ImageInfo);

die "usage: $0 [--dry-run] FILE...\n" unless @ARGV;
my $dry = $ARGV[0] eq '--dry-run' && shift;
my %taken;

foreach my $file (@ARGV) {
    my ($name, $dir, $suffix) = fileparse($file, qr/\.[^.]*$/);
    my $info = ImageInfo($file, qw(DateTimeOriginal CreateDate Model));
    my $date = $info->{DateTimeOriginal} || $info->{CreateDate};
    unless ($date && $date =~ /^(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)/) {
        print STDERR "$file: no date, left alone\n";
        next;
    }
    my $base = "$1-$2-$3_$4$5$6";
    (my $model = lc($info->{Model} // 'unknown')) =~ s/[^a-z0-9]+/-/g;
    my ($target, $n) = ("$dir${base}_$model\L$suffix", 1);
    while (-e $target || $taken{$target}) {
        $target = sprintf "%s%s_%s_%d%s", $dir, $base, $model, ++$n, lc $suffix;
    }
    $taken{$target} = 1;
    print "$file -> $target\n";
    move($file, $target) or warn "$file: $!\n" unless $dry;
}
