package Math::SmallMatrix;
use strict;
use warnings;
use overload
    '+'   => \&add,
    '-'   => sub { my ( $x, $y, $swap ) = @_; ( $x, $y ) = ( $y, $x ) if $swap; $x->add( $y->scale(-1) ) },
    '*'   => \&multiply,
    '=='  => \&equal,
    '""'  => \&as_string,
    'neg' => sub { $_[0]->scale(-1) };

use constant EPSILON => 1e-9;

sub new {
    my $class = shift;
    my @rows  = map { [@$_] } @_;
    my $width = @{ $rows[0] };
    for (@rows) { die "ragged matrix\n" if @$_ != $width }
    return bless \@rows, ref $class || $class;
}

sub identity {
    my ( $class, $n ) = @_;
    return $class->new( map { my $i = $_; [ map { $_ == $i ? 1 : 0 } 1 .. $n ] } 1 .. $n );
}

sub rows    { scalar @{ $_[0] } }
sub columns { scalar @{ $_[0][0] } }

sub transpose {
    my $self = shift;
    return $self->new( map { my $c = $_; [ map { $_->[$c] } @$self ] } 0 .. $self->columns - 1 );
}

sub scale {
    my ( $self, $factor ) = @_;
    return $self->new( map { [ map { $_ * $factor } @$_ ] } @$self );
}

sub add {
    my ( $x, $y ) = @_;
    die "shapes differ\n" unless $x->rows == $y->rows && $x->columns == $y->columns;
    return $x->new( map { my $r = $_; [ map { $x->[$r][$_] + $y->[$r][$_] } 0 .. $#{ $x->[$r] } ] } 0 .. $#$x );
}

sub multiply {
    my ( $x, $y ) = @_;
    return $x->scale($y) unless ref $y;
    die "inner sizes differ\n" unless $x->columns == $y->rows;
    my $columns = $y->transpose;
    return $x->new(
        map {
            my $row = $_;
            [ map { my ( $sum, $column ) = ( 0, $_ ); $sum += $row->[$_] * $column->[$_] for 0 .. $#$row; $sum } @$columns ]
        } @$x
    );
}

# Gauss-Jordan with partial pivoting
sub inverse {
    my $self = shift;
    my $n    = $self->rows;
    my @work = map { [ @{ $self->[$_] } ] } 0 .. $n - 1;
    my $unit = $self->identity($n);
    push @{ $work[$_] }, @{ $unit->[$_] } for 0 .. $n - 1;
    for my $c ( 0 .. $n - 1 ) {
        my ($pivot) = sort { abs $work[$b][$c] <=> abs $work[$a][$c] } $c .. $n - 1;
        die "singular matrix\n" if abs $work[$pivot][$c] < EPSILON;
        @work[ $c, $pivot ] = @work[ $pivot, $c ];
        my $p = $work[$c][$c];
        $_ /= $p for @{ $work[$c] };
        for my $r ( grep { $_ != $c } 0 .. $n - 1 ) {
            my $f = $work[$r][$c] or next;
            $work[$r][$_] -= $f * $work[$c][$_] for 0 .. 2 * $n - 1;
        }
    }
    return $self->new( map { [ @$_[ $n .. 2 * $n - 1 ] ] } @work );
}

sub equal {
    my ( $x, $y ) = @_;
    for my $r ( 0 .. $#$x ) {
        for my $c ( 0 .. $#{ $x->[$r] } ) { return 0 if abs( $x->[$r][$c] - $y->[$r][$c] ) > EPSILON }
    }
    return 1;
}

sub as_string {
    return join "\n", map { join ' ', map { sprintf '%10.4g', $_ } @$_ } @{ $_[0] };
}

1;
