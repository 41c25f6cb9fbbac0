#!/usr/bin/perl -w
use strict;
use DBI;
use Text::CSV_XS;

# usage: load-orders.pl DSN FILE...     e.g. load-orders.pl dbi:Pg:dbname=shop orders-*.csv

my $dsn = shift @ARGV or die "usage: $0 DSN FILE...\n";
my $dbh = DBI->connect($dsn, $ENV{DBUSER}, $ENV{DBPASS}, {
    RaiseError => 1, PrintError => 0, AutoCommit => 0, pg_enable_utf8 => 1,
});

my $customer = $dbh->prepare_cached('SELECT id FROM customers WHERE number = ?');
my $insert   = $dbh->prepare(<<'SQL');
    INSERT INTO orders (customer_id, ordered_on, article, quantity, price)
    VALUES (?, to_date(?, 'DD.MM.YYYY'), ?, ?, ?)
SQL

my %total = (rows => 0, skipped => 0, files => 0);
FILE: for my $file (@ARGV) {
    my $csv = Text::CSV_XS->new({ binary => 1, sep_char => ';', auto_diag => 0 });
    open my $fh, '<:encoding(cp1252)', $file or do { warn "$file: $!\n"; next FILE };
    $csv->column_names(map { lc } @{ $csv->getline($fh) });
    eval {
        while (my $row = $csv->getline_hr($fh)) {
            s/^\s+|\s+$//g for values %$row;
            (my $price = $row->{price}) =~ tr/.,/_./;
            $price =~ s/_//g;
            my ($id) = $dbh->selectrow_array($customer, undef, $row->{customer});
            if (!defined $id) {
                warn sprintf "%s:%d: no customer %s\n", $file, $., $row->{customer};
                $total{skipped}++;
                next;
            }
            $insert->execute($id, @{$row}{qw(date article quantity)}, $price);
            $total{rows}++;
        }
        $csv->eof or die 'line ' . $csv->record_number . ': ' . $csv->error_diag . "\n";
        $dbh->commit;
        $total{files}++;
        1;
    } or do {
        my $why = $@ || 'unknown error';
        $dbh->rollback;
        warn "$file: rolled back: $why";
    };
    close $fh;
}
$dbh->disconnect;
print map { sprintf "%-8s %6d\n", $_, $total{$_} } sort keys %total;
